"""Pictures of digits as people draw them, brought to the form of the images that a network was trained on.

MNIST's digits are light on dark, scaled into 20 x 20 pixels and centred by mass in 28 x 28.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.data.datasets import Images
from pipeline.data.idx import read_idx
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from PIL.Image import Image

_BOX: Final = 20 / 28
"""The share of an image's side that its digit takes."""
_STROKE: Final = 2 / 20
"""The share of the digit's side that its lines are thick, at least; MNIST's are 2 to 4 of 20 pixels."""
_FAINTEST: Final = 0.2
"""The share of the darkest ink below which a pixel is paper."""


def read_images(path: Path, shape: tuple[int, int]) -> tuple[list[str], Images]:
    """Read images as a network for images of `shape` takes them.

    Args:
        path: a PNG file, a folder of them, or an idx file, which is taken as it is.
        shape: rows and columns.

    Returns:
        A name for each image, and the images (n, rows, columns).

    Raises:
        PipelineError: naming the file and what is wrong with it.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".png")
        if not files:
            raise PipelineError(f"images is {str(path)!r}, a folder without PNG files; put some there.")
    elif not path.is_file():
        raise PipelineError(
            f"images is {str(path)!r}, which is not there; it has to be a PNG file, a folder of them or an idx file."
        )
    elif path.suffix.lower() == ".png":
        files = [path]
    else:
        images, _ = read_idx(path, 3)
        if not len(images):
            raise PipelineError(f"images is {str(path)!r}, an idx file that holds no images.")
        return [str(number) for number in range(len(images))], images
    return [file.name for file in files], np.stack([_read_png(file, shape) for file in files])


def normalised(grey: NDArray[np.floating[Any]], shape: tuple[int, int]) -> Images:
    """Bring a drawing to the form of a training image.

    Args:
        grey: (height, width), any size, dark on light or light on dark, 0 to 255.
        shape: rows and columns of the result.

    Returns:
        Light ink on dark, cropped, scaled and centred by mass.

    Raises:
        ValueError: nothing is drawn there.
    """
    ink = _ink(grey)
    inside = [np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0)]
    top, bottom, left, right = (edge for line in inside for edge in (line[0], line[-1] + 1))
    return _centred(_scaled(ink[top:bottom, left:right], shape), shape)


def _read_png(file: Path, shape: tuple[int, int]) -> Images:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=["PNG"]) as image:
            grey = _grey(image)
        if grey.shape == shape and np.median(_border(grey)) == 0:
            return grey.astype(np.uint8)  # in the form of the training images already
        return normalised(grey, shape)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise PipelineError(
            f"{file} cannot be read as a drawing ({error}); save it as a PNG image of one digit."
        ) from error


def _grey(image: "Image") -> NDArray[np.floating[Any]]:
    """0 to 255; what is transparent is paper."""
    if image.mode.startswith("I"):  # 16 bits
        return np.asarray(image, dtype=np.float64) / 257
    if not image.has_transparency_data:
        return np.asarray(image.convert("L"), dtype=np.float64)
    coloured = image.convert("RGBA")
    grey, opacity = np.asarray(coloured.convert("L"), np.float64), np.asarray(coloured.getchannel("A"), np.float64)
    paper = 0.0 if (grey * opacity).sum() > 127 * opacity.sum() else 255.0
    return paper + (grey - paper) * opacity / 255


def _border(grey: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _ink(grey: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """(height, width): 0 where there is paper, 1 where the ink is thickest; paper is what the border shows."""
    paper = float(np.median(_border(grey)))
    ink: NDArray[np.floating[Any]] = np.clip(paper - grey if paper > 127 else grey - paper, 0, None)  # noqa: PLR2004 - half of 255
    if ink.max() < 255 * _FAINTEST:
        raise ValueError("there is nothing but background")
    ink /= ink.max()
    ink[ink < _FAINTEST] = 0
    return ink


def _scaled(ink: NDArray[np.floating[Any]], shape: tuple[int, int]) -> NDArray[np.floating[Any]]:
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


def _centred(ink: NDArray[np.floating[Any]], shape: tuple[int, int]) -> Images:
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
