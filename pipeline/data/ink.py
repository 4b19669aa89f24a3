"""Which pixels of a picture are ink: what is darker or lighter than the paper close by, in strokes as of a digit.

The paper's level is estimated at every pixel by a morphological closing, which fills whatever is narrower than its
window. So gradients, shadows and vignettes are no ink. Lines, frames, specks and what reaches in over the picture's
border are left out.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Greys = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

_LONGEST: Final = 400
"""Pixels to which the longer side of a larger picture is reduced."""
_SHORTEST: Final = 100
"""Pixels to which the shorter side of a smaller picture is enlarged."""
_WINDOW: Final = 0.35
"""The share of the shorter side that the closing's window takes: wider than any stroke, narrower than the paper."""
_LINE_WINDOW: Final = 0.2
"""The same share where lines and frames are looked for; on slopes a narrower window shows less that is no line."""
_DARKEST_PAPER: Final = 128.0
"""The paper's level below which contrast is no longer relative to it, because noise would grow."""
_FAINTEST: Final = 0.05
"""The least contrast of ink, 1 being black on white."""
_NOISES: Final = 6.0
"""How many standard deviations of the paper's noise ink has to stand out."""
_STROKE_LEVEL: Final = 0.4
"""The share of the digit's own contrast from which a pixel is ink."""
_OUTLINE: Final = 0.95
"""The share of each side of a rectangle along which a frame has to run."""
_AS_DARK: Final = 0.25
"""The share of the ink's contrast that paper may be lighter than the ink and still counts as as dark."""
_SMALLEST: Final = 0.04
"""The share of the longer side below which a component is dust."""
_COMPANION: Final = 0.25
"""The share of the largest component's extent that another component needs to be part of the digit."""
_THINNEST_FRAME: Final = 0.05
"""The share of its side up to which the line of a frame, or a ruled line, is thick."""
_BORDER: Final = 0.02
"""The share of the shorter side within which a component touches the border."""
_EIGHT: Final = np.ones((3, 3), bool)


class Ink(NamedTuple):
    """The ink of a picture.

    Attributes:
        strength: (height, width), 0 where there is paper, 1 where the ink is thickest.
        boxes: of the components that are kept, as slices of rows and columns.
        clarity: contrast between ink and paper beside the noise.
        exclusive: the share of the pixels as dark as the ink that are ink; of paper taken for ink, others are paper.
    """

    strength: Greys
    boxes: list[tuple[slice, slice]]
    clarity: float
    exclusive: float


class _Contrast(NamedTuple):
    """How much every pixel stands out from the paper close by.

    Attributes:
        level: the picture, smoothed as far as its noise asks for.
        values: how much darker than the paper each pixel is, as a share of the paper's level.
        noise: standard deviation of the values on paper.
    """

    level: Greys
    values: Greys
    noise: float

    @property
    def floor(self) -> float:
        """The least value that is no noise."""
        return max(_FAINTEST, _NOISES * self.noise)


def find_ink(picture: NDArray[Any]) -> Ink | None:
    """Find the strokes of a digit.

    Args:
        picture: (height, width, channels), any size, 0 to 255; dark on light or light on dark.

    Returns:
        Its ink, in a size that suits the search, or None where there is only paper.
    """
    picture = _resized(picture)
    found = []
    for dark in (True, False):
        inks = [ink for channel in _channels(picture) if (ink := _ink(channel if dark else 255 - channel))]
        if inks:
            found.append(max(inks, key=lambda ink: ink.clarity))
    return max(found, key=lambda ink: ink.exclusive, default=None)


def _resized(picture: NDArray[Any]) -> Greys:
    """Averaged over blocks of pixels if it is large, interpolated if it is small."""
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
    """Every channel, because ink may be visible in one of them alone, and their mean, in which noise is least."""
    yield from np.moveaxis(picture, 2, 0)
    if picture.shape[2] > 1:
        yield picture.mean(axis=2)


def _ink(level: Greys) -> Ink | None:
    """The ink that is darker than the paper, if there is any."""
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
    """Contrast as a share of what is usual close by, as ink in a shadow is as strong as ink in the light."""
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
    """The level of the paper at every pixel, by a closing; beyond the border, slopes go on ("odd") or turn ("even")."""
    half = int(window * min(level.shape) / 2)
    padded = np.pad(level, half, mode="reflect", reflect_type=beyond)
    return np.asarray(ndimage.grey_closing(padded, size=2 * half + 1)[half:-half, half:-half])


def _without_dust(level: Greys) -> Greys:
    """Specks filled with the median around them: a closing would take the paper between specks for ink."""
    smooth = ndimage.median_filter(level, 7)
    labels, _ = ndimage.label(np.abs(level - smooth) > 255 * _FAINTEST, _EIGHT)
    boxes = ndimage.find_objects(labels)
    small = [max(side.stop - side.start for side in box) < _SMALLEST * max(level.shape) for box in boxes]
    return np.where(np.array([False, *small])[labels], smooth, level)


def _without_frames(level: Greys) -> Greys:
    """Frames filled with the paper around them."""
    frames = ndimage.binary_dilation(_frames(_stands_out(level, "even")), _EIGHT)
    return np.where(frames, _paper(level, _LINE_WINDOW, "even"), level)


def _without_rules(level: Greys) -> Greys:
    """Ruled lines filled with what is on both sides of them, which is ink where a stroke crosses them."""
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
    """Thin lines from the left border to the right one, slanted by at most 3 % of the width, and their thickness."""
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
    """Components that are the outline of a rectangle."""
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
    """The components that are strokes of a digit: large enough, and inside the picture if any is."""
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
    """Whether it is a digit that the border cuts, rather than a shadow along the border."""
    contact = component[0].sum() + component[-1].sum() + component[:, 0].sum() + component[:, -1].sum()
    return bool(contact <= 0.5 * max(side.stop - side.start for side in box))
