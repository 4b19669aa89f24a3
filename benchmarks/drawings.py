"""Pictures of digits as people draw, print and photograph them, made under one condition at a time.

The digits are those of fonts from Debian packages and of pens whose strokes are drawn here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Greys = NDArray[np.floating[Any]]
Paper = Callable[[int, np.random.Generator], Greys]

_FONTS: Final = Path("/usr/share/fonts")
_DRAWN: Final = 400
"""Height in pixels at which a digit is drawn first."""


class Face(NamedTuple):
    """One way to write the ten digits.

    Attributes:
        name: of the font or pen.
        source: Debian package of the font, or "pen".
        file: of the font below the system's folder of fonts, or "".
        held_out: whether nothing was tuned with this face.
    """

    name: str
    source: str
    file: str = ""
    held_out: bool = False


FACES: Final = (
    Face("Liberation Sans", "fonts-liberation", "truetype/liberation/LiberationSans-Regular.ttf"),
    Face("DejaVu Serif", "fonts-dejavu-core", "truetype/dejavu/DejaVuSerif.ttf"),
    Face("Lato Heavy", "fonts-lato", "truetype/lato/Lato-Heavy.ttf", held_out=True),
    Face("OCR-B", "fonts-ocr-b", "opentype/ocr-b/OCRB.otf", held_out=True),
    Face("Comic Neue", "fonts-comic-neue", "opentype/comic-neue/ComicNeue-Regular.otf"),
    Face("DKG bold", "fonts-dkg-handwriting", "truetype/fifthhorseman/dkgBd.ttf"),
    Face("Because We Learn", "fonts-bwht", "opentype/bwht/BecauseWeLearn-Regular.otf"),
    Face("Because We Mentor", "fonts-bwht", "opentype/bwht/BecauseWeMentor-Regular.otf"),
    Face("Dancing Script", "fonts-dancingscript", "opentype/dancingscript/DancingScript-Regular.otf"),
    Face("Klee One", "fonts-klee", "truetype/klee/KleeOne-Regular.ttf"),
    Face("Kiloji", "fonts-kiloji", "truetype/kiloji/kiloji_p.ttf"),
    Face("Rufscript", "fonts-rufscript", "truetype/rufscript/Rufscript010.ttf"),
    Face("Comic Neue Light", "fonts-comic-neue", "opentype/comic-neue/ComicNeue-Light.otf", held_out=True),
    Face("DKG italic", "fonts-dkg-handwriting", "truetype/fifthhorseman/dkgIt.ttf", held_out=True),
    Face("Because We Organize", "fonts-bwht", "opentype/bwht/BecauseWeOrganize-Regular.otf", held_out=True),
    Face("Humor Sans", "fonts-humor-sans", "truetype/humor-sans/Humor-Sans.ttf", held_out=True),
    Face("Kaushan Script", "fonts-kaushanscript", "opentype/kaushanscript/KaushanScript-Regular.otf", held_out=True),
    Face("Steve Hand", "fonts-sjfonts", "truetype/sjfonts/SteveHand.ttf", held_out=True),
    Face("Seto", "fonts-seto", "truetype/seto/setofont.ttf", held_out=True),
    Face("Yusei Magic", "fonts-yusei-magic", "truetype/yusei-magic/YuseiMagic-Regular.ttf", held_out=True),
    Face("ballpoint", "pen"),
    Face("felt pen", "pen"),
    Face("fountain pen", "pen", held_out=True),
    Face("marker", "pen", held_out=True),
)

_PENS: Final = {"ballpoint": (0.06, 0.0), "felt pen": (0.13, 0.1), "fountain pen": (0.08, 0.2), "marker": (0.17, -0.05)}
"""Width of the line as a share of the digit's height, and slant."""

_STROKES: Final = (
    "50,0 15,20 5,50 15,80 45,100 75,85 90,50 80,18 50,0",
    "35,18 60,0 58,50 55,100",
    "10,22 30,3 65,5 75,28 50,60 8,98 45,92 88,98",
    "12,12 40,0 72,14 68,36 38,47 75,58 82,82 50,100 8,88",
    "35,0 8,62 88,64|66,30 62,100",
    "82,3 27,4|27,4 21,44|21,44 52,36 80,60 72,90 40,100 10,90",
    "68,2 30,28 10,65 28,98 65,94 74,68 50,52 16,66",
    "8,8 45,6 85,4 58,48 38,100",
    "70,14 42,0 18,18 34,42 72,66 66,95 34,100 14,78 44,50 76,24 66,6",
    "78,22 50,0 18,20 26,48 60,44 78,20 74,60 60,100",
)
"""The course of a pen through each digit: points in a box of 100 x 100; "|" lifts the pen."""


def glyph(face: Face, digit: int, height: int, width: int | None = None) -> Greys:
    """The ideal mask of a digit: 1 where its ink is, cropped, `height` pixels high and no wider than `width`."""
    drawn = _pen(face.name, digit) if face.source == "pen" else _font(_FONTS / face.file, digit)
    cropped = drawn.crop(drawn.getbbox())
    scale = min(height / cropped.height, (width or 2 * height) / cropped.width)
    size = (max(2, round(cropped.width * scale)), max(2, round(cropped.height * scale)))
    return np.asarray(cropped.resize(size, Image.Resampling.BOX), dtype=np.float64) / 255


def _font(file: Path, digit: int) -> Image.Image:
    sheet = Image.new("L", (3 * _DRAWN, 3 * _DRAWN))
    ImageDraw.Draw(sheet).text((_DRAWN, _DRAWN), str(digit), 255, ImageFont.truetype(file, _DRAWN))
    return sheet


def _pen(name: str, digit: int) -> Image.Image:
    """Strokes through the digit's points, none of which is hit exactly."""
    from scipy.interpolate import CubicSpline

    share, slant = _PENS[name]
    random = np.random.default_rng([digit, *name.encode()])
    sheet = Image.new("L", (3 * _DRAWN, 3 * _DRAWN))
    draw = ImageDraw.Draw(sheet)
    radius = share * _DRAWN / 2
    for stroke in _STROKES[digit].split("|"):
        points = np.array([[float(number) for number in point.split(",")] for point in stroke.split()])
        points = (points + random.normal(0, 2, points.shape)) / 100 * [0.62, 1]
        points[:, 0] += slant * (1 - points[:, 1])
        passed = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        curve = CubicSpline(passed, points)(np.linspace(0, passed[-1], 600)) if len(points) > 3 else _straight(points)
        for x, y in _DRAWN * (1 + curve):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], 255)
    return sheet


def _straight(points: Greys) -> Greys:
    shares = np.linspace(0, len(points) - 1, 600)
    return np.stack([np.interp(shares, np.arange(len(points)), column) for column in points.T], axis=1)


def even(*grey: float) -> Paper:
    """Paper of one grey or colour."""
    return lambda side, _: np.ones((side, side, len(grey))) * grey


def gradient(left: float, right: float) -> Paper:
    """Paper that darkens from one side to the other, in a direction of chance."""
    return lambda side, random: np.rot90(np.linspace(left, right, side)[None].repeat(side, 0), int(random.integers(4)))[
        ..., None
    ]


def shadow(side: int, random: np.random.Generator) -> Greys:
    """Paper on one side of which a shadow falls; its edge is 1 to 8 pixels wide."""
    angle, offset = random.uniform(0, 2 * np.pi), random.uniform(-0.25, 0.25) * side
    rows, columns = np.indices((side, side)) - side / 2
    distance = rows * np.sin(angle) + columns * np.cos(angle) - offset
    lit = np.clip(distance / random.uniform(1, 8) + 0.5, 0, 1)
    level: Greys = (235 * (0.5 + 0.5 * lit))[..., None]
    return level


def vignette(side: int, _: np.random.Generator) -> Greys:
    """Paper that darkens towards its corners."""
    rows, columns = (np.indices((side, side)) - side / 2) / (side / 2)
    level: Greys = (240 * (1 - 0.33 * (rows**2 + columns**2)))[..., None]
    return level


_WHITE: Final = even(255)


@dataclass(frozen=True)
class Condition:
    """How a digit is drawn; nothing but what is named differs from a plain drawing.

    Attributes:
        name: as in the table.
        paper: grey or colour of every point of the sheet.
        ink: grey of the digit.
        side: of the square sheet in pixels.
        height: of the digit in pixels.
        shift: of the digit from the sheet's middle, down and right, in pixels.
        clutter: marks ink that is no part of the digit; given the digit's box too.
        clutter_ink: grey of the clutter.
        turn: degrees that the digit is turned by, to the left.
        noise: standard deviation of each pixel.
        jpeg: quality of the JPEG file, or None for a PNG file.
        orientation: of EXIF; the sheet is stored lying on its side for 6.
    """

    name: str
    paper: Paper = _WHITE
    ink: float = 0
    side: int = 200
    height: int = 130
    shift: tuple[int, int] = (0, 0)
    clutter: Callable[[Image.Image, tuple[int, int, int, int], np.random.Generator], None] | None = None
    clutter_ink: float = 0
    turn: float = 0
    noise: float = 0
    jpeg: int | None = None
    orientation: int | None = None

    def picture(self, face: Face | None, digit: int, random: np.random.Generator) -> tuple[str, bytes]:
        """The name's ending and the bytes of a picture; without a face, of a sheet that nobody wrote on."""
        sheet = self.paper(self.side, random)
        mask, box = self._placed(face, digit)
        sheet = sheet * (1 - mask[..., None]) + self.ink * mask[..., None]
        if self.clutter:
            marks = Image.new("L", (self.side, self.side))
            self.clutter(marks, box, random)
            share = np.asarray(marks, dtype=np.float64)[..., None] / 255
            sheet = np.minimum(sheet, sheet * (1 - share) + self.clutter_ink * share)
        sheet = sheet + random.normal(0, self.noise, sheet.shape[:2])[..., None] if self.noise else sheet
        pixels = np.rint(np.clip(sheet, 0, 255)).astype(np.uint8)
        image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
        return self._encoded(image)

    def _placed(self, face: Face | None, digit: int) -> tuple[Greys, tuple[int, int, int, int]]:
        mask = np.zeros((self.side, self.side))
        if face is None:
            quarter = self.side // 4
            return mask, (quarter, quarter, self.side - quarter, self.side - quarter)
        drawn = glyph(face, digit, self.height, self.side - 2)
        if self.turn:
            turned = Image.fromarray((drawn * 255).astype(np.uint8)).rotate(
                self.turn, Image.Resampling.BICUBIC, expand=True
            )
            drawn = np.asarray(turned, dtype=np.float64) / 255
        height, width = drawn.shape
        top, left = (
            int(np.clip((self.side - length) // 2 + shift, 1, self.side - length - 1))
            for length, shift in zip((height, width), self.shift, strict=True)
        )
        mask[top : top + height, left : left + width] = drawn
        return mask, (left, top, left + width, top + height)

    def _encoded(self, image: Image.Image) -> tuple[str, bytes]:
        exif = Image.Exif()
        if self.orientation:
            image = image.rotate(90, expand=True)  # what a viewer that obeys the orientation 6 turns back
            exif[0x0112] = self.orientation
        file = BytesIO()
        if self.jpeg:
            image.save(file, format="JPEG", quality=self.jpeg, exif=exif)
            return ".jpg", file.getvalue()
        image.save(file, format="PNG", compress_level=1)
        return ".png", file.getvalue()


def _speck(marks: Image.Image, _box: object, random: np.random.Generator) -> None:
    left, top = ((4, marks.width - 8)[random.integers(2)] for _ in range(2))
    ImageDraw.Draw(marks).rectangle([left, top, left + 2, top + 2], 255)


def _dust(marks: Image.Image, _box: object, random: np.random.Generator) -> None:
    for x, y in random.integers(0, marks.width, (40, 2)).tolist():
        marks.putpixel((x, y), 255)


def _rules(marks: Image.Image, _box: object, random: np.random.Generator) -> None:
    for y in range(int(random.integers(5, 25)), marks.height, 25):
        ImageDraw.Draw(marks).line([(0, y), (marks.width, y)], 255, 2)


def _squares(marks: Image.Image, _box: object, random: np.random.Generator) -> None:
    _rules(marks, _box, random)
    for x in range(int(random.integers(5, 25)), marks.width, 25):
        ImageDraw.Draw(marks).line([(x, 0), (x, marks.height)], 255, 2)


def _frame(margin: int) -> Callable[[Image.Image, object, object], None]:
    def draw(marks: Image.Image, _box: object, _random: object) -> None:
        far = marks.width - 1 - margin
        ImageDraw.Draw(marks).rectangle([margin, margin, far, far], outline=255, width=3)

    return draw


def _box(marks: Image.Image, box: tuple[int, int, int, int], _random: object) -> None:
    left, top, right, bottom = box
    ImageDraw.Draw(marks).rectangle([left - 12, top - 12, right + 12, bottom + 12], outline=255, width=3)


CONDITIONS: Final = (
    Condition("plain"),
    Condition("64 x 64 pixels", side=64, height=42),
    Condition("600 x 600 pixels", side=600, height=390),
    Condition("off-centre", height=90, shift=(45, -45)),
    Condition("inverted", even(0), ink=255),
    Condition("turned by 10 degrees to the left", turn=10),
    Condition("turned by 10 degrees to the right", turn=-10),
    Condition("JPEG, noise of sigma 6", even(240), ink=30, noise=6, jpeg=30),
    Condition("JPEG on its side, EXIF orientation", even(240), ink=30, jpeg=85, orientation=6),
    Condition("paper from 255 to 215", gradient(255, 215)),
    Condition("a speck of 3 pixels in a corner", clutter=_speck),
    Condition("40 pixels of dust", clutter=_dust),
    Condition("ruled paper", clutter=_rules, clutter_ink=120),
    Condition("squared paper", clutter=_squares, clutter_ink=150),
    Condition("frame at the edge", clutter=_frame(0)),
    Condition("frame 8 pixels inside", clutter=_frame(8)),
    Condition("box around the digit", clutter=_box),
    Condition("paper from 235 to 150, ink 60", gradient(235, 150), ink=60),
    Condition("paper from 230 to 120, ink 60", gradient(230, 120), ink=60),
    Condition("a shadow's edge, ink 40", shadow, ink=40),
    Condition("vignette, ink 50", vignette, ink=50),
    Condition("noise of sigma 25", even(230), ink=20, noise=25),
    Condition("pencil 190 on 235, noise of sigma 8", even(235), ink=190, noise=8),
    Condition("pencil 215 on 250", even(250), ink=215),
    Condition("black on pure blue", even(0, 0, 255)),
    Condition("black on pure red", even(255, 0, 0)),
    Condition("0 on 120", even(120)),
    Condition("255 on 140", even(140), ink=255),
    Condition("28 x 28, light on dark, 20 high, off-centre", even(0), 255, 28, 20, (3, -3)),
    Condition("28 x 28, light on dark, 26 high", even(0), 255, 28, 26),
    Condition("28 x 28, light on dark, 14 high in a corner", even(0), 255, 28, 14, (-14, -14)),
)


def two_digits(face: Face, first: int, second: int) -> bytes:
    """A PNG picture of two digits side by side."""
    drawn = [glyph(face, digit, 90, 90) for digit in (first, second)]
    mask = np.zeros((160, 240))
    for left, each in zip((20, 125), drawn, strict=True):
        mask[30 : 30 + each.shape[0], left : left + each.shape[1]] = each
    file = BytesIO()
    Image.fromarray(np.rint(255 * (1 - mask)).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()
