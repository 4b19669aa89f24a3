"""Finding the ink of a picture: strokes that are darker or lighter than the paper around them.

A morphological closing estimates the paper's level at every pixel, because a closing fills everything narrower than its
window. Therefore gradients, shadows and vignettes do not count as ink. Lines, frames, specks and objects that cross the
picture's border are removed.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Greys = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

_LONGEST: Final = 400
"""The longest side in pixels; larger pictures are reduced."""
_SHORTEST: Final = 100
"""The least length of the shorter side in pixels; smaller pictures are enlarged."""
_WINDOW: Final = 0.35
"""The closing's window as a share of the shorter side: wider than any stroke, narrower than the paper."""
_LINE_WINDOW: Final = 0.2
"""The same share in the search for lines and frames; a narrower window finds fewer false lines in gradients."""
_DARKEST_PAPER: Final = 128.0
"""Contrast is relative to the paper's level, but at least to this level, because noise would grow on dark paper."""
_FAINTEST: Final = 0.05
"""The least contrast of ink, 1 being black on white."""
_NOISES: Final = 6.0
"""The least contrast of ink, in standard deviations of the paper's noise."""
_STROKE_LEVEL: Final = 0.4
"""A pixel is ink if it has at least this share of the digit's own contrast."""
_OUTLINE: Final = 0.95
"""A component is a frame if it covers at least this share of each side of its bounding rectangle."""
_AS_DARK: Final = 0.25
"""Pixels count as dark as the ink if they are lighter by at most this share of the ink's contrast."""
_SMALLEST: Final = 0.04
"""Components smaller than this share of the longer side are dust."""
_COMPANION: Final = 0.25
"""A component belongs to the digit if its extent is at least this share of the largest component's."""
_THINNEST_FRAME: Final = 0.05
"""The greatest thickness of a frame's line, or of a ruled line, as a share of the side."""
_BORDER: Final = 0.02
"""A component touches the border if its distance is at most this share of the shorter side."""
_EIGHT: Final = np.ones((3, 3), bool)


class Ink(NamedTuple):
    """The ink of a picture.

    Attributes:
        strength: (height, width), from 0 for paper to 1 for the strongest ink.
        boxes: bounding boxes of the digit's components, as slices of rows and columns.
        clarity: the contrast between ink and paper, divided by the noise.
        exclusive: the share of ink among all pixels as dark as the ink; low if paper was taken for ink.
    """

    strength: Greys
    boxes: list[tuple[slice, slice]]
    clarity: float
    exclusive: float


class _Contrast(NamedTuple):
    """The contrast between every pixel and the paper around it.

    Attributes:
        level: the picture, smoothed the more, the more noise it has.
        values: how much darker than the paper each pixel is, as a share of the paper's level.
        noise: standard deviation of the values on paper.
    """

    level: Greys
    values: Greys
    noise: float

    @property
    def floor(self) -> float:
        """The least value that cannot be noise."""
        return max(_FAINTEST, _NOISES * self.noise)


def find_ink(picture: NDArray[Any]) -> Ink | None:
    """Find the strokes of a digit.

    Args:
        picture: (height, width, channels), any size, 0 to 255; dark on light or light on dark.

    Returns:
        The ink of the resized picture, or None if there is only paper.
    """
    picture = _resized(picture)
    found = []
    for dark in (True, False):
        inks = [ink for channel in _channels(picture) if (ink := _ink(channel if dark else 255 - channel))]
        if inks:
            found.append(max(inks, key=lambda ink: ink.clarity))
    return max(found, key=lambda ink: ink.exclusive, default=None)


def _resized(picture: NDArray[Any]) -> Greys:
    """Reduce a large picture by averaging blocks of pixels; enlarge a small one by interpolation."""
    block = -(-max(picture.shape[:2]) // _LONGEST)
    if block == 1:
        factor = -(-_SHORTEST // min(picture.shape[:2]))
        return np.asarray(
            ndimage.zoom(picture.astype(float), (factor, factor, 1), order=1, grid_mode=True, mode="nearest")
        )
    height, width = (max(length // block, 1) for length in picture.shape[:2])
    blocks = picture[: height * block, : width * block].reshape(height, -1, width, block, picture.shape[2])
    return np.asarray(blocks.mean(axis=(1, 3)))


def _channels(picture: Greys) -> Iterator[Greys]:
    """Give every channel, because ink may be visible in only one, and their mean, because its noise is lowest."""
    yield from np.moveaxis(picture, 2, 0)
    if picture.shape[2] > 1:
        yield picture.mean(axis=2)


def _ink(level: Greys) -> Ink | None:
    """Find ink that is darker than the paper, if there is any."""
    level = _without_dust(level)
    level = 255 - _without_frames(255 - level)
    found = _contrast(_without_rules(_without_frames(level)), _WINDOW, "odd")
    kept = _digit(found.values > found.floor)
    usual = 0.0
    for _ in range(2):
        if not kept.any():
            return None
        usual = float(np.percentile(found.values[kept], 85))
        kept = _digit(found.values > max(found.floor, _STROKE_LEVEL * usual))
    if not kept.any():
        return None
    as_dark = found.level <= np.percentile(found.level[kept], 75) + _AS_DARK * usual * _DARKEST_PAPER
    boxes = ndimage.find_objects(ndimage.label(kept, _EIGHT)[0])
    exclusive = float(np.mean(ndimage.binary_dilation(kept, _EIGHT)[as_dark]))
    return Ink(_strength(found.values, kept, usual), boxes, usual / (found.noise + _FAINTEST), exclusive)


def _strength(values: Greys, kept: Mask, usual: float) -> Greys:
    """Divide contrast by the usual contrast nearby, because ink in a shadow has less contrast but is as strong."""
    near = ndimage.maximum_filter(np.where(kept, values, 0), max(3, min(kept.shape) // 8))
    near = ndimage.gaussian_filter(near, min(kept.shape) / 20)
    strength = np.clip(values / np.maximum(near, _STROKE_LEVEL * usual), 0, 1)
    is_ink = ndimage.binary_dilation(kept, _EIGHT) & (strength > _STROKE_LEVEL / 2)
    return np.where(is_ink, strength, 0)


def _contrast(level: Greys, window: float, beyond: Literal["odd", "even"]) -> _Contrast:
    smoothed = level
    for sigma in (0.0, 1.0, 2.0):
        smoothed = ndimage.gaussian_filter(level, sigma) if sigma else level
        paper = _paper(smoothed, window, beyond)
        values = (paper - smoothed) / np.maximum(paper, _DARKEST_PAPER)
        middle = np.median(values)
        noise = 1.4826 * float(np.median(np.abs(values - middle)))
        if noise < _FAINTEST / _NOISES:
            break
    return _Contrast(smoothed, values - middle, noise)


def _paper(level: Greys, window: float, beyond: Literal["odd", "even"]) -> Greys:
    """Estimate the paper's level by a closing; outside the border, falling slopes go on ("odd") or turn ("even").

    A rising slope turns in both cases: it makes no difference to the closing, while ink near the border would continue
    as light that is brighter than the paper.
    """
    half = int(window * min(level.shape) / 2)
    padded = np.pad(level, half, mode="reflect")
    if beyond == "odd":
        padded = np.minimum(padded, np.pad(level, half, mode="reflect", reflect_type="odd"))
    return np.asarray(ndimage.grey_closing(padded, size=2 * half + 1)[half:-half, half:-half])


def _without_dust(level: Greys) -> Greys:
    """Fill specks with the median around them, because a closing would take the paper between specks for ink."""
    smooth = ndimage.median_filter(level, 7)
    labels, _ = ndimage.label(np.abs(level - smooth) > 255 * _FAINTEST, _EIGHT)
    boxes = ndimage.find_objects(labels)
    small = [max(side.stop - side.start for side in box) < _SMALLEST * max(level.shape) for box in boxes]
    return np.where(np.array([False, *small])[labels], smooth, level)


def _without_frames(level: Greys) -> Greys:
    """Fill frames with the paper around them."""
    frames = ndimage.binary_dilation(_frames(_stands_out(level, "even")), _EIGHT)
    return np.where(frames, _paper(level, _LINE_WINDOW, "even"), level)


def _without_rules(level: Greys) -> Greys:
    """Fill ruled lines with the pixels on both sides, which are ink where a stroke crosses a line."""
    mask = _stands_out(level, "odd")
    for lines, thickness, size in (
        (*_ruled(mask), (1, 0)),
        (*_ruled(mask.T), (0, 1)),
    ):
        if thickness:
            closed = ndimage.grey_closing(level, size=[1 + (thickness + 1) * side for side in size], mode="nearest")
            level = np.where(lines.T if size[1] else lines, closed, level)
    return level


def _stands_out(level: Greys, beyond: Literal["odd", "even"]) -> Mask:
    found = _contrast(level, _LINE_WINDOW, beyond)
    return np.asarray(found.values > found.floor)


def _ruled(mask: Mask) -> tuple[Mask, int]:
    """Find thin lines from the left to the right border, slanted by at most 3 % of the width, and their thickness."""
    height, width = mask.shape
    thickest = max(1, round(_THINNEST_FRAME * min(mask.shape)))
    slant = round(0.03 * width)
    columns = np.arange(width)
    lines, thickness = np.zeros_like(mask), 0
    for rise in range(-slant, slant + 1, max(1, slant // 4)):
        offsets = np.rint(rise * columns / width).astype(int)
        rows = np.arange(height)[:, None] + offsets
        inside = (rows >= 0) & (rows < height)
        rows = np.clip(rows, 0, height - 1)
        sheared = mask[rows, columns] & inside
        full = sheared.sum(axis=1) >= 0.9 * np.maximum(inside.sum(axis=1), width // 2)
        labels, _ = ndimage.label(full)
        for (run,) in ndimage.find_objects(labels):
            if run.stop - run.start <= thickest:
                lines[rows[run], np.broadcast_to(columns, rows[run].shape)] |= sheared[run]
                thickness = max(thickness, run.stop - run.start)
    return lines, thickness


def _frames(mask: Mask) -> Mask:
    """Find components that are the outline of a rectangle."""
    labels, _ = ndimage.label(mask, _EIGHT)
    frames = np.zeros_like(mask)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        component = labels[box] == number
        band = max(2, round(_THINNEST_FRAME * max(component.shape)))
        if min(component.shape) < 4 * band or max(component.shape) < 0.3 * max(mask.shape):
            continue
        sides = [component[:band].any(axis=0), component[-band:].any(axis=0),
                 component[:, :band].any(axis=1), component[:, -band:].any(axis=1)]  # fmt: skip
        inside = component[band:-band, band:-band]
        if min(side.mean() for side in sides) >= _OUTLINE and inside.sum() <= 0.02 * component.sum():
            frames[box] |= component
    return frames


def _digit(mask: Mask) -> Mask:
    """Find the strokes of a digit: large components inside the picture, or if there are none, those that it cuts."""
    labels, count = ndimage.label(mask, _EIGHT)
    boxes = ndimage.find_objects(labels)
    extents = np.array([max(side.stop - side.start for side in box) for box in boxes])
    smallest = max(2, _SMALLEST * max(mask.shape))
    large = [number for number in range(count) if extents[number] >= smallest]
    inside = [number for number in large if _is_inside(boxes[number], mask.shape)]
    candidates = inside or [n for n in large if _is_cut(labels == n + 1, boxes[n])]
    if not candidates:
        return np.zeros_like(mask)
    largest = max(extents[number] for number in candidates)
    kept = [number + 1 for number in candidates if extents[number] >= _COMPANION * largest]
    return np.asarray(np.isin(labels, kept))


def _is_inside(box: tuple[slice, slice], shape: tuple[int, ...]) -> bool:
    margin = round(_BORDER * min(shape))
    return all(side.start > margin and side.stop < length - margin for side, length in zip(box, shape, strict=True))


def _is_cut(component: Mask, box: tuple[slice, slice]) -> bool:
    """Whether a component at the border is a digit that the border cuts, and not a shadow along the border."""
    contact = component[0].sum() + component[-1].sum() + component[:, 0].sum() + component[:, -1].sum()
    return bool(contact <= 0.5 * max(side.stop - side.start for side in box))
