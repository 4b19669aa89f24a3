"""Picture files as arrays: finds out which files are pictures, and reads their pixels as a viewer shows them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_LARGEST: Final = 1600
"""The longest side in pixels; larger pictures are reduced, so that they take little memory."""

ACCEPTED: Final = "PNG, JPEG, WebP, BMP, GIF or TIFF"


def is_picture(file: Path) -> bool:
    """Whether a file is a picture, by its name or its content; the picture may be damaged."""
    from PIL import Image

    if file.suffix.lower() in _SUFFIXES:
        return True
    try:
        with Image.open(file, formats=_FORMATS):
            return True
    except Exception:  # noqa: BLE001 - Pillow raises errors of many kinds
        return False


def read_picture(file: Path) -> NDArray[Any]:
    """Read the first picture of a file.

    Returns:
        (height, width, channels), 0 to 255, upright; transparent pixels become paper, and grey pictures have one
        channel.

    Raises:
        PipelineError: the file cannot be read; the message names the file and the reason.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(file, formats=_FORMATS) as image:
            return _pixels(ImageOps.exif_transpose(image))
    except Exception as error:
        reason = "it is of no known format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise PipelineError(
            f"{file} cannot be read as a picture ({reason or type(error).__name__}); save it as {ACCEPTED}."
        ) from error


def _pixels(image: "Image") -> NDArray[Any]:
    if image.mode.startswith(("I", "F")):
        deep = np.asarray(image, dtype=np.float64)
        return np.clip(deep / 257 if image.mode.startswith("I") else deep, 0, 255)[..., None]
    image = _on_paper(image) if image.has_transparency_data else image
    image = image.convert("L" if image.mode in {"1", "L", "LA"} else "RGB")
    pixels = np.asarray(image.reduce(max(1, max(image.size) // _LARGEST)))
    if pixels.ndim == 2:  # noqa: PLR2004 - without channels
        return pixels[..., None]
    return pixels[..., :1] if (pixels == pixels[..., :1]).all() else pixels


def _on_paper(image: "Image") -> "Image":
    """Put a transparent picture on white paper, or on black paper if its ink is light."""
    from PIL import Image

    coloured = image.convert("RGBA")
    grey, opacity = np.asarray(coloured.convert("L"), np.float64), np.asarray(coloured.getchannel("A"), np.float64)
    is_light = (grey * opacity).sum() > 127 * opacity.sum()
    return Image.alpha_composite(Image.new("RGBA", image.size, "black" if is_light else "white"), coloured)
