import gzip

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.data.drawn_digits import drawn, normalised, read_images
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


def seen(sheet, shape=MNIST):
    """What a network sees of a grey drawing."""
    image, doubt = drawn(np.asarray(sheet.convert("L"))[..., None], shape)
    assert doubt == ""
    return image


def centre_of_mass(image):
    rows, columns = np.indices(image.shape)
    return np.array([np.average(rows, weights=image), np.average(columns, weights=image)])


def extent(image):
    return tuple(int(np.ptp(np.flatnonzero(image.any(axis=axis)))) + 1 for axis in (1, 0))


@pytest.mark.parametrize("size", [(28, 28), (60, 40), (280, 280), (301, 777), (2000, 1500)])
def test_a_drawing_of_any_size_takes_the_form_of_mnist(size):
    image = seen(seven(size))
    assert (image.shape, image.dtype) == (MNIST, np.uint8)
    assert image.max() == 255  # light ...
    assert image[0].max() == image[-1].max() == image[:, 0].max() == image[:, -1].max() == 0  # ... on dark
    assert max(extent(image)) == 20
    np.testing.assert_allclose(centre_of_mass(image), [14, 14], atol=0.51)  # whole pixels are as near as it can come


@pytest.mark.parametrize("shape", [(8, 8), (16, 16), (28, 28), (20, 28)])
def test_it_takes_the_form_that_the_network_has(shape):
    image = seen(seven((300, 300)), shape)
    assert image.shape == shape
    assert max(extent(image)) == round(min(shape) * 20 / 28)


def test_where_on_the_sheet_and_on_which_paper_makes_no_difference():
    expected = seen(seven((400, 400)))
    for other in (
        seven((400, 400), at=(0.05, 0.4)),
        seven((400, 400), paper=0, ink=255),
        seven((400, 400), paper=200, ink=40),
        seven((400, 400), paper=30, ink=180),
    ):
        difference = seen(other).astype(int) - expected
        assert np.abs(difference).max() <= 40  # one grey line more or less, where its edge falls between two pixels


@pytest.mark.parametrize("thickness", [0.004, 0.02, 0.05])
def test_a_thin_line_is_made_as_thick_as_those_of_mnist(thickness):
    image = seen(seven((500, 500), thickness=thickness))
    strokes = (image > 127).sum(axis=1)
    assert np.median(strokes[strokes > 0]) >= 2
    assert max(extent(image)) == 20


def test_a_single_line_is_not_blown_up_in_its_width():
    sheet = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(sheet).line([(100, 20), (100, 180)], 0, 12)
    height, width = extent(seen(sheet))
    assert height == 20
    assert 2 <= width <= 4


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_an_empty_sheet_is_blank(grey):
    image, doubt = drawn(np.full((50, 50, 1), grey, np.uint8), MNIST)
    assert doubt == "blank"
    assert not image.any()


def test_a_dot_is_centred():
    ink = np.zeros((100, 100))
    ink[10, 90] = 1
    np.testing.assert_allclose(centre_of_mass(normalised(ink, MNIST)), [14, 14], atol=0.51)


def slant(image):
    """Columns to the right for each row up."""
    rows, columns = np.indices(image.shape)
    rows, columns = rows - np.average(rows, weights=image), columns - np.average(columns, weights=image)
    return -np.average(rows * columns, weights=image) / np.average(rows**2, weights=image)


@pytest.mark.parametrize(("lean", "least", "most"), [(-60, -0.2, 0), (-30, -0.2, 0), (30, 0.2, 0.3), (90, 0.3, 0.5)])
def test_a_digit_leans_no_more_than_those_of_mnist(lean, least, most):
    sheet = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(sheet).line([(100 - lean / 2, 160), (100 + lean / 2, 40)], 0, 14)
    assert least < slant(seen(sheet)) < most


def test_a_stroke_that_lies_flat_is_not_raised():
    sheet = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(sheet).line([(30, 105), (170, 95)], 0, 10)
    assert extent(drawn(np.asarray(sheet)[..., None], MNIST)[0])[0] <= 8


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
    drawings = read_images(tmp_path / "seven.png", MNIST)
    assert drawings.names == ["seven.png"]
    np.testing.assert_allclose(drawings.images[0], seen(sheet), atol=2)


def as_mnist():
    return seen(seven((200, 200)))


def test_an_image_of_mnist_is_left_as_it_is(tmp_path):
    image = as_mnist()
    image[13, 2:26] //= 2  # which another scaling would change
    Image.fromarray(image).save(tmp_path / "seven.png")
    np.testing.assert_array_equal(read_images(tmp_path / "seven.png", MNIST).images[0], image)


def small(height, at):
    """A 7 in 28 x 28, light on dark."""
    sheet = Image.new("L", (28, 28))
    top, left = at
    points = [(left, top), (left + height // 2, top), (left + 2, top + height)]
    ImageDraw.Draw(sheet).line(points, 255, 3)
    return sheet


@pytest.mark.parametrize(("height", "at"), [(20, (1, 1)), (24, (2, 6)), (12, (1, 1)), (12, (14, 14))])
def test_a_light_digit_in_28_x_28_of_another_size_or_place_is_brought_to_that_of_mnist(height, at):
    image = seen(small(height, at))
    assert max(extent(image)) == 20
    np.testing.assert_allclose(centre_of_mass(image), [14, 14], atol=0.51)


def test_images_for_another_network_are_left_as_they_are():
    image = np.zeros((8, 8), np.uint8)
    image[1:7, 3] = 200
    np.testing.assert_array_equal(drawn(image[..., None], (8, 8))[0], image)


def test_digits_side_by_side_are_doubted():
    sheet = Image.new("L", (300, 200), 255)
    for left in (40, 160):
        sheet.paste(seven((100, 200)), (left, 0))
    assert drawn(np.asarray(sheet)[..., None], MNIST)[1] == "several digits"


def test_a_digit_in_two_strokes_is_one():
    sheet = Image.new("L", (200, 200), 255)
    draw = ImageDraw.Draw(sheet)
    draw.line([(70, 30), (50, 100), (120, 100)], 0, 10)  # a 4 whose strokes do not touch
    draw.line([(135, 60), (130, 170)], 0, 10)
    assert drawn(np.asarray(sheet)[..., None], MNIST)[1] == ""


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    folder = tmp_path / "drawings"
    folder.mkdir()
    for name in ("b.png", "a.PNG", "c.jpg", "d"):
        seven((100, 100)).save(folder / name, format="JPEG" if name == "c.jpg" else "PNG")
    (folder / "notes.txt").write_text("not a drawing")
    (folder / "labels.csv").write_text("7,7,7")
    (folder / ".hidden.png").write_text("not a drawing")
    (folder / "more.png").mkdir()
    drawings = read_images(folder, MNIST)
    assert drawings.names == ["a.PNG", "b.png", "c.jpg", "d"]
    assert drawings.images.shape == (4, *MNIST)
    assert (drawings.left_out, drawings.unreadable, drawings.doubts) == (2, [], [""] * 4)


def test_a_bad_picture_is_named_while_the_others_are_read(tmp_path):
    seven((100, 100)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not a drawing")
    Image.new("L", (50, 50), 255).save(tmp_path / "c.png")
    drawings = read_images(tmp_path, MNIST)
    assert (drawings.names, drawings.doubts) == (["a.png", "c.png"], ["", "blank"])
    [sentence] = drawings.unreadable
    assert sentence.startswith(f"{tmp_path / 'b.png'} cannot be read as a picture (it is of no known format); save it")


@pytest.mark.parametrize("compressed", [False, True])
def test_an_idx_file_is_taken_as_it_is(tmp_path, compressed):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    file = tmp_path / "t10k-images-idx3-ubyte"
    images[1] = 0
    write_idx(file, images)
    if compressed:
        file.write_bytes(gzip.compress(file.read_bytes()))
    drawings = read_images(file, MNIST)
    assert (drawings.names, drawings.doubts) == (["0", "1", "2"], ["", "blank", ""])
    np.testing.assert_array_equal(drawings.images, images)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="a folder without pictures; put PNG, JPEG, WebP, BMP, GIF or TIFF files"):
        read_images(tmp_path, MNIST)


def test_a_folder_of_bad_pictures_is_refused(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    with pytest.raises(PipelineError, match=r"No picture can be read; the first: .*a\.png cannot be read"):
        read_images(tmp_path, MNIST)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(PipelineError, match="is not there; it has to be a picture"):
        read_images(tmp_path / "nowhere.png", MNIST)
