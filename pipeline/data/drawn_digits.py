"""Pictures of hand-drawn digits, converted to the form of the images that a network was trained on.

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
"""The longer side of a digit as a share of its image's side."""
_OFF_CENTRE: Final = 0.75
"""Pixels by which the centre of mass of an MNIST image may differ from (14, 14); MNIST's rounding alone gives half."""
_SLANTS: Final = (-0.1, 0.4)
"""Columns to the right for each row up, by the second moments; three in four of MNIST's digits are within."""
_SHEAR: Final = 0.5
"""The most by which a slant is changed, so that no other digit results."""
_STROKE: Final = 2 / 20
"""The least thickness of lines, as a share of the digit's side; MNIST's lines have 2 to 4 of 20 pixels."""
_DIGIT: Final = 0.6
"""Two components side by side are two digits if they have at least this share of their rows in common."""
_OVERLAP: Final = 0.2
"""The share of a digit's width by which the next digit may overlap it, as in slanted writing."""
_WIDEST: Final = 1.35
"""Ink that is wider than this multiple of its height counts as several digits that touch."""


class Drawings(NamedTuple):
    """Images to classify.

    Attributes:
        names: names of the images.
        images: (n, rows, columns), in the form that a network was trained on.
        doubts: for each image "blank", "several digits" or "".
        unreadable: a sentence for each picture that cannot be read.
        left_out: how many files of the folder are not pictures.
    """

    names: list[str]
    images: Images
    doubts: list[str]
    unreadable: list[str]
    left_out: int


def read_images(path: Path, shape: tuple[int, int]) -> Drawings:
    """Read images and convert pictures to the form that a network was trained on.

    Args:
        path: a picture, a folder of pictures, or an idx file, whose images are not converted.
        shape: rows and columns of the network's images.

    Returns:
        The images, in the order of their names.

    Raises:
        PipelineError: no image can be read; the message names the file and the reason.
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
    """Convert a picture to the form of a training image, and say if it may not show a single digit.

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
    """Convert ink to the form of a training image.

    Args:
        ink: (height, width), 0 for paper, up to 1 for ink; at least one pixel is ink.
        shape: rows and columns of the result.

    Returns:
        An image with light ink on dark, cropped, scaled and centred by mass.
    """
    return _centred(_scaled(_cropped(_upright(_cropped(ink))), shape), shape)


def _cropped(ink: Greys) -> Greys:
    top, bottom, left, right = _edges(ink)
    return ink[top:bottom, left:right]


def _upright(ink: Greys) -> Greys:
    """Shear ink whose slant is rare in MNIST, because a network has seen little of it."""
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
    """Whether a picture already has the form of a training image: MNIST's box and centre, or else a dark border."""
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
    """Find the first row of the ink and the row after its last, and the same for columns."""
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _are_several(boxes: list[tuple[slice, slice]]) -> bool:
    """Whether components are side by side at about the same height, or all together are too wide for one digit."""
    ordered = sorted(boxes, key=lambda box: (box[1].start, box[1].stop))
    beside = any(
        right.start >= left.stop - _OVERLAP * (left.stop - left.start) and _shared(rows, others) >= _DIGIT
        for (rows, left), (others, right) in pairwise(ordered)
    )
    width = max(columns.stop for _, columns in boxes) - min(columns.start for _, columns in boxes)
    height = max(rows.stop for rows, _ in boxes) - min(rows.start for rows, _ in boxes)
    return beside or width > _WIDEST * height


def _shared(rows: slice, others: slice) -> float:
    """Divide the number of rows that two components have in common by the number of rows that they cover together."""
    shared: int = min(rows.stop, others.stop) - max(rows.start, others.start)
    either: int = max(rows.stop, others.stop) - min(rows.start, others.start)
    return max(shared, 0) / either


def _scaled(ink: Greys, shape: tuple[int, int]) -> Greys:
    """Scale ink to the size of a digit without distortion; lines that would vanish are first made thicker."""
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
    """Place ink so that its centre of mass is at half of each side, or as near as the ink stays inside the image.

    MNIST's digits have their centre of mass at (14, 14), half a pixel off the middle of the image. Placing digits in
    the middle instead would cost 5 % of accuracy.
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
