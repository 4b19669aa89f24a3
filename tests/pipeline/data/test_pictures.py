"""Picture files of every format give the pixels that a viewer shows."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data.pictures import is_picture, read_picture
from pipeline.errors import PipelineError


def sheet():
    return Image.fromarray(np.arange(0, 240, 4, dtype=np.uint8).reshape(6, 10).repeat(8, 0).repeat(8, 1))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.jpeg", "a.webp", "a.bmp", "a.gif", "a.tif", "a.TIFF"])
def test_formats(tmp_path, name):
    sheet().save(tmp_path / name)
    assert is_picture(tmp_path / name)
    pixels = read_picture(tmp_path / name)
    assert pixels.shape[:2] == (48, 80)
    np.testing.assert_allclose(pixels.mean(axis=2), np.asarray(sheet()), atol=6)


def test_the_content_says_what_a_file_is(tmp_path):
    sheet().save(tmp_path / "a.png", format="JPEG")
    sheet().save(tmp_path / "digit", format="PNG")
    assert read_picture(tmp_path / "a.png").shape == (48, 80, 1)
    assert is_picture(tmp_path / "digit")


def test_a_picture_is_turned_as_its_orientation_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    sheet().rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png")[..., 0], np.asarray(sheet()))


def test_colours_are_kept(tmp_path):
    Image.new("RGB", (5, 4), (0, 0, 255)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png")[0, 0], [0, 0, 255])


@pytest.mark.parametrize(("ink", "paper"), [("black", 255), ("white", 0)])
def test_what_is_transparent_is_paper(tmp_path, ink, paper):
    drawn = Image.new("RGBA", (10, 10))
    drawn.paste(ink, (0, 0, 3, 3))
    drawn.save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png")[9, 9, 0] == paper
    assert read_picture(tmp_path / "a.png")[0, 0, 0] == 255 - paper


def test_a_huge_picture_is_reduced(tmp_path):
    Image.new("1", (5000, 3300), 1).save(tmp_path / "a.png")
    assert max(read_picture(tmp_path / "a.png").shape) < 2000


def make_text(path):
    path.write_text("not a drawing")


def make_cut(path):
    sheet().save(path)
    path.write_bytes(path.read_bytes()[:90])


def make_damaged(path):
    sheet().save(path)
    content = bytearray(path.read_bytes())
    content[45:60] = bytes(15)
    path.write_bytes(content)


@pytest.mark.parametrize("make", [make_text, make_cut, make_damaged, lambda path: path.touch()])
def test_what_cannot_be_read_is_named(tmp_path, make):
    make(tmp_path / "a.png")
    with pytest.raises(
        PipelineError, match=r"a\.png cannot be read as a picture \(.+\); save it as PNG, JPEG"
    ) as caught:
        read_picture(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


def test_another_file_is_no_picture(tmp_path):
    (tmp_path / "notes.txt").write_text("not a drawing")
    assert not is_picture(tmp_path / "notes.txt")
