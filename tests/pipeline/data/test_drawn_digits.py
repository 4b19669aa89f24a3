import gzip

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.data.drawn_digits import normalised, read_images
from pipeline.data.idx import write_idx
from pipeline.errors import PipelineError

MNIST = (28, 28)


def seven(size, *, thickness=0.1, at=(0.3, 0.2), paper=255, ink=0, mode="L"):
    """A 7 drawn on a sheet of `size`: a bar and a slanted stem, half the sheet high."""
    width, height = size
    side = min(size)
    left, top = at[0] * width, at[1] * height
    line = max(1, round(thickness * side))
    sheet = Image.new(mode, size, paper)
    corner = (left + 0.4 * side, top)
    ImageDraw.Draw(sheet).line([(left, top), corner, (left + 0.1 * side, top + 0.5 * side)], ink, line)
    return sheet


def pixels(sheet):
    return np.asarray(sheet.convert("L"), dtype=float)


def centre_of_mass(image):
    rows, columns = np.indices(image.shape)
    return np.array([np.average(rows, weights=image), np.average(columns, weights=image)])


def extent(image):
    return tuple(int(np.ptp(np.flatnonzero(image.any(axis=axis)))) + 1 for axis in (1, 0))


@pytest.mark.parametrize("size", [(28, 28), (60, 40), (280, 280), (301, 777), (2000, 1500)])
def test_a_drawing_of_any_size_takes_the_form_of_mnist(size):
    image = normalised(pixels(seven(size)), MNIST)
    assert (image.shape, image.dtype) == (MNIST, np.uint8)
    assert image.max() == 255  # light ...
    assert image[0].max() == image[-1].max() == image[:, 0].max() == image[:, -1].max() == 0  # ... on dark
    assert max(extent(image)) == 20
    np.testing.assert_allclose(centre_of_mass(image), [14, 14], atol=0.51)  # whole pixels are as near as it can come


@pytest.mark.parametrize("shape", [(8, 8), (16, 16), (28, 28), (20, 28)])
def test_it_takes_the_form_that_the_network_has(shape):
    image = normalised(pixels(seven((300, 300))), shape)
    assert image.shape == shape
    assert max(extent(image)) == round(min(shape) * 20 / 28)


def test_where_on_the_sheet_and_on_which_paper_makes_no_difference():
    expected = normalised(pixels(seven((400, 400))), MNIST)
    for other in (
        seven((400, 400), at=(0.05, 0.4)),
        seven((400, 400), paper=0, ink=255),
        seven((400, 400), paper=200, ink=40),
        seven((400, 400), paper=30, ink=180),
    ):
        difference = normalised(pixels(other), MNIST).astype(int) - expected
        assert np.abs(difference).max() <= 40  # one grey line more or less, where its edge falls between two pixels


@pytest.mark.parametrize("thickness", [0.004, 0.02, 0.05])
def test_a_thin_line_is_made_as_thick_as_those_of_mnist(thickness):
    image = normalised(pixels(seven((500, 500), thickness=thickness)), MNIST)
    strokes = (image > 127).sum(axis=1)
    assert np.median(strokes[strokes > 0]) >= 2
    assert max(extent(image)) == 20


def test_a_single_line_is_not_blown_up_in_its_width():
    sheet = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(sheet).line([(100, 20), (100, 180)], 0, 12)
    height, width = extent(normalised(pixels(sheet), MNIST))
    assert height == 20
    assert 2 <= width <= 4


def test_faint_shadows_are_paper():
    shadows = pixels(seven((200, 200)))
    shadows[:20] -= 30
    np.testing.assert_allclose(normalised(shadows, MNIST), normalised(pixels(seven((200, 200))), MNIST), atol=2)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_an_empty_sheet_is_refused(grey):
    with pytest.raises(ValueError, match="nothing but background"):
        normalised(np.full((50, 50), float(grey)), MNIST)


def test_a_dot_is_centred():
    sheet = np.full((100, 100), 255.0)
    sheet[10, 90] = 0
    np.testing.assert_allclose(centre_of_mass(normalised(sheet, MNIST)), [14, 14], atol=0.51)


def colour(sheet):
    return sheet.convert("RGB")


def on_nothing(sheet):
    """Black ink on a transparent sheet, as drawing programs save it."""
    drawn = Image.new("RGBA", sheet.size, (0, 0, 0, 0))
    drawn.putalpha(sheet.point(lambda grey: 255 - grey))
    return drawn


def white_on_nothing(sheet):
    drawn = Image.new("RGBA", sheet.size, (255, 255, 255, 0))
    drawn.putalpha(sheet.point(lambda grey: 255 - grey))
    return drawn


def palette(sheet):
    return sheet.convert("P")


def one_bit(sheet):
    return sheet.convert("1")


def sixteen_bits(sheet):
    return Image.fromarray(np.asarray(sheet).astype(np.uint16) * 257)


@pytest.mark.parametrize("form", [colour, on_nothing, white_on_nothing, palette, one_bit, sixteen_bits])
def test_every_kind_of_png_is_read_alike(tmp_path, form):
    sheet = seven((200, 200))
    form(sheet).save(tmp_path / "seven.png")
    names, images = read_images(tmp_path / "seven.png", MNIST)
    assert names == ["seven.png"]
    np.testing.assert_allclose(images[0], normalised(pixels(sheet), MNIST), atol=2)


def test_what_has_the_form_already_is_left_as_it_is(tmp_path):
    image = normalised(pixels(seven((200, 200))), MNIST)
    shifted = np.roll(image, 2, axis=1)
    Image.fromarray(shifted).save(tmp_path / "seven.png")
    np.testing.assert_array_equal(read_images(tmp_path / "seven.png", MNIST)[1][0], shifted)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name in ("b.png", "a.PNG", "c.png"):
        seven((100, 100)).save(tmp_path / name, format="PNG")
    (tmp_path / "notes.txt").write_text("not a drawing")
    names, images = read_images(tmp_path, MNIST)
    assert names == ["a.PNG", "b.png", "c.png"]
    assert images.shape == (3, *MNIST)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_idx_file_is_taken_as_it_is(tmp_path, compressed):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    file = tmp_path / "t10k-images-idx3-ubyte"
    write_idx(file, images)
    if compressed:
        file.write_bytes(gzip.compress(file.read_bytes()))
    names, read = read_images(file, MNIST)
    assert names == ["0", "1", "2"]
    np.testing.assert_array_equal(read, images)


def make_text(path):
    path.write_text("not a drawing")


def make_cut(path):
    seven((200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:150])


def make_blank(path):
    Image.new("L", (50, 50), 255).save(path)


def make_jpeg(path):
    seven((200, 200)).save(path, format="JPEG")


def make_empty(path):
    path.touch()


@pytest.mark.parametrize("make", [make_text, make_cut, make_blank, make_jpeg, make_empty])
def test_what_is_no_drawing_is_refused_by_name(tmp_path, make):
    make(tmp_path / "seven.png")
    with pytest.raises(PipelineError, match=r"seven\.png cannot be read as a drawing \(.*save it as a PNG") as caught:
        read_images(tmp_path / "seven.png", MNIST)
    assert "\n" not in str(caught.value)


def test_a_folder_without_drawings_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="without PNG files"):
        read_images(tmp_path, MNIST)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="is not there; it has to be a PNG file, a folder of them or an idx file"):
        read_images(tmp_path / "nowhere.png", MNIST)
