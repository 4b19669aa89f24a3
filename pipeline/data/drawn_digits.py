"""Pictures of digits as people draw them, brought to the form of the images that a network was trained on.

MNIST's digits are light on dark, scaled into 20 x 20 pixels and centred by mass in 28 x 28; few lean to the left.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data import pictures
from pipeline.data.datasets import Images
from pipeline.data.idx import read_idx
from pipeline.data.ink import Greys, find_ink
from pipeline.errors import PipelineError

_MNIST: Final = (28, 28)
_BOX: Final = 20 / 28
"""The share of an image's side that its digit takes."""
_OFF_CENTRE: Final = 0.75
"""Pixels that an MNIST image's centre of mass may lie off the middle; half a pixel, by MNIST's own rounding."""
_SLANTS: Final = (-0.1, 0.4)
"""Columns to the right for each row up, by the second moments; three in four of MNIST's digits are within."""
_SHEAR: Final = 0.5
"""The most by which a slant is changed, so that no other digit results."""
_STROKE: Final = 2 / 20
"""The share of the digit's side that its lines are thick, at least; MNIST's are 2 to 4 of 20 pixels."""
_DIGIT: Final = 0.6
"""The share of their rows that two components have in common, from which each is a digit of its own."""
_OVERLAP: Final = 0.2
"""The share of a digit's width that the digit beside it may reach over it, as in slanted writing."""
_WIDEST: Final = 1.35
"""The width of a digit as a share of its height beyond which it is several that touch."""


class Drawings(NamedTuple):
    """Images to classify.

    Attributes:
        names: of the images.
        images: (n, rows, columns), as a network takes them.
        doubts: a word for each image, "blank" or "several digits", or "".
        unreadable: a sentence for each picture that cannot be read.
        left_out: how many files of the folder are no pictures.
    """

    names: list[str]
    images: Images
    doubts: list[str]
    unreadable: list[str]
    left_out: int


def read_images(path: Path, shape: tuple[int, int]) -> Drawings:
    """Read images as a network for images of `shape` takes them.

    Args:
        path: a picture, a folder of pictures, or an idx file, which is taken as it is.
        shape: rows and columns.

    Returns:
        The images, in the order of their names.

    Raises:
        PipelineError: naming the file and what is wrong with it; no picture can be read.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        found = [file for file in files if pictures.is_picture(file)]
        if not found:
            raise PipelineError(
                f"images is {str(path)!r}, a folder without pictures; put {pictures.ACCEPTED} files there."
            )
        return _drawings(found, shape, left_out=len(files) - len(found))
    if not path.is_file():
        raise PipelineError(
            f"images is {str(path)!r}, which is not there; it has to be a picture ({pictures.ACCEPTED}), a folder of "
            "pictures or an idx file."
        )
    if pictures.is_picture(path):
        return _drawings([path], shape)
    images, _ = read_idx(path, 3)
    if not len(images):
        raise PipelineError(f"images is {str(path)!r}, an idx file that holds no images.")
    doubts = ["" if image.any() else "blank" for image in images]
    return Drawings([str(number) for number in range(len(images))], images, doubts, [], 0)


def _drawings(files: list[Path], shape: tuple[int, int], left_out: int = 0) -> Drawings:
    names, images, doubts, unreadable = [], [], [], []
    for file in files:
        try:
            image, doubt = drawn(pictures.read_picture(file), shape)
        except PipelineError as error:
            unreadable.append(str(error))
        else:
            names.append(file.name)
            images.append(image)
            doubts.append(doubt)
    if not images:
        raise PipelineError(unreadable[0] if len(files) == 1 else f"No picture can be read; the first: {unreadable[0]}")
    return Drawings(names, np.stack(images), doubts, unreadable, left_out)


def drawn(picture: NDArray[Any], shape: tuple[int, int]) -> tuple[Images, str]:
    """Bring a picture to the form of a training image, and say why what is in it may be no digit.

    Args:
        picture: (height, width, channels), any size, 0 to 255.
        shape: rows and columns of the result.

    Returns:
        The image, and "blank", "several digits" or "".
    """
    if _has_form(picture, shape):
        return picture[..., 0].astype(np.uint8), ""
    ink = find_ink(picture)
    if ink is None:
        return np.zeros(shape, np.uint8), "blank"
    return normalised(ink.strength, shape), "several digits" if _are_several(ink.boxes) else ""


def normalised(ink: Greys, shape: tuple[int, int]) -> Images:
    """Bring ink to the form of a training image.

    Args:
        ink: (height, width), 0 where there is paper, up to 1 where there is ink; somewhere there is.
        shape: rows and columns of the result.

    Returns:
        Light ink on dark, cropped, scaled and centred by mass.
    """
    return _centred(_scaled(_cropped(_upright(_cropped(ink))), shape), shape)


def _cropped(ink: Greys) -> Greys:
    top, bottom, left, right = _edges(ink)
    return ink[top:bottom, left:right]


def _upright(ink: Greys) -> Greys:
    """Sheared if its slant is rare in MNIST, where a network has seen little of it."""
    from scipy.ndimage import affine_transform

    rows, columns = (each - np.average(each, weights=ink) for each in np.indices(ink.shape))
    spread = float(np.average(rows**2, weights=ink))
    slant = -float(np.average(rows * columns, weights=ink)) / max(spread, 1.0)
    lacking = float(np.clip(np.clip(slant, *_SLANTS) - slant, -_SHEAR, _SHEAR))
    if not lacking:
        return ink
    margin = int(_SHEAR * len(ink)) + 1
    padded = np.pad(ink, ((0, 0), (margin, margin)))
    matrix = [[1, 0], [lacking, 1]]
    return np.asarray(affine_transform(padded, matrix, offset=[0, -lacking * len(ink) / 2], order=1)).clip(0, 1)


def _has_form(picture: NDArray[Any], shape: tuple[int, int]) -> bool:
    """Whether a picture is a training image already: of MNIST by its box and centre, of others by its dark border."""
    if picture.shape != (*shape, 1):
        return False
    grey = picture[..., 0]
    if shape != _MNIST:
        return bool(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])) == 0)
    if not grey.any():
        return False
    top, bottom, left, right = _edges(grey)
    centre = [np.average(np.arange(28), weights=grey.sum(axis=axis, dtype=float)) for axis in (1, 0)]
    is_centred = np.abs(np.array(centre) - 14).max() <= _OFF_CENTRE
    return bool(max(bottom - top, right - left) == round(_BOX * shape[0]) and is_centred)


def _edges(ink: NDArray[Any]) -> tuple[int, int, int, int]:
    """First and last row (and column) of the ink, the last excluded."""
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _are_several(boxes: list[tuple[slice, slice]]) -> bool:
    """Whether components stand side by side at about the same height, or the whole is too wide for a digit."""
    ordered = sorted(boxes, key=lambda box: (box[1].start, box[1].stop))
    beside = any(
        right.start >= left.stop - _OVERLAP * (left.stop - left.start) and _shared(rows, others) >= _DIGIT
        for (rows, left), (others, right) in pairwise(ordered)
    )
    width = max(columns.stop for _, columns in boxes) - min(columns.start for _, columns in boxes)
    height = max(rows.stop for rows, _ in boxes) - min(rows.start for rows, _ in boxes)
    return beside or width > _WIDEST * height


def _shared(rows: slice, others: slice) -> float:
    """The rows that two components share, as a share of the rows that either has."""
    shared: int = min(rows.stop, others.stop) - max(rows.start, others.start)
    either: int = max(rows.stop, others.stop) - min(rows.start, others.start)
    return max(shared, 0) / either


def _scaled(ink: Greys, shape: tuple[int, int]) -> Greys:
    """Scaled into the box, in its own proportions; lines that would vanish are made thicker first."""
    from PIL import Image
    from scipy.ndimage import distance_transform_edt, grey_dilation

    longest = max(ink.shape)
    lacking = round(_STROKE * longest - 2 * distance_transform_edt(np.pad(ink > 0.5, 1)).max())  # noqa: PLR2004
    if lacking > 0:
        ink = grey_dilation(np.pad(ink, lacking), size=(lacking + 1, lacking + 1))
        longest = max(ink.shape)
    scale = _BOX * min(shape) / longest
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    image = Image.fromarray(ink.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    scaled = np.array(image, dtype=np.float64)
    scaled /= scaled.max()
    return scaled


def _centred(ink: Greys, shape: tuple[int, int]) -> Images:
    """Placed so that the centre of mass stands at half of each side, as far as the ink stays inside.

    That is where MNIST's digits have it: at 14, 14, half a pixel off the middle, which is worth 5 % of accuracy.
    """
    centred = np.zeros(shape)
    start = []
    for axis in (0, 1):
        mass = ink.sum(axis=1 - axis)
        centre = np.average(np.arange(len(mass)), weights=mass)
        start.append(int(np.clip(round(shape[axis] / 2 - centre), 0, shape[axis] - len(mass))))
    top, left = start
    centred[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return np.rint(255 * centred).astype(np.uint8)
