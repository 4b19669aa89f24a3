import gzip
import hashlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import sources
from pipeline.data.datasets import load, prepare
from pipeline.data.idx import write_idx
from pipeline.data.sources import MNIST_DIGESTS
from pipeline.errors import PipelineError, UsageError
from tests.conftest import REPOSITORY

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = MNIST_DIGESTS


@pytest.fixture
def arrays():
    """Images of 5 x 3 pixels in 4 classes."""
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (70, 5, 3), dtype=np.uint8) * (draw.random((70, 5, 3)) < 0.4).astype(np.uint8)
    labels = np.arange(70, dtype=np.uint8) % 4
    return {
        TRAIN_IMAGES: images[:50],
        TRAIN_LABELS: labels[:50],
        TEST_IMAGES: images[50:],
        TEST_LABELS: labels[50:],
    }


@pytest.fixture
def source(tmp_path, arrays):
    folder = tmp_path / "source"
    folder.mkdir()
    for name, array in arrays.items():
        write_idx(folder / name, array)
    return folder


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def like_mnist(source, monkeypatch):
    """The folder's files, taken for the true MNIST."""
    for name in MNIST_DIGESTS:
        monkeypatch.setitem(sources.MNIST_DIGESTS, name, hashlib.sha256((source / name).read_bytes()).hexdigest())
    return source


def compress(folder):
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def test_own_data_set_comes_back_as_it_was(data, source, arrays):
    dataset = prepare("shapes", data_dir=data, source=source)
    assert (dataset.name, dataset.image_shape, dataset.classes) == ("shapes", (5, 3), 4)
    for part, examples in (("train", dataset.train), ("test", dataset.test)):
        images, labels = (
            (arrays[TRAIN_IMAGES], arrays[TRAIN_LABELS])
            if part == "train"
            else (arrays[TEST_IMAGES], arrays[TEST_LABELS])
        )
        np.testing.assert_array_equal(dataset.images(part, np.arange(len(labels))), images)
        np.testing.assert_array_equal(examples.labels, labels)
        np.testing.assert_array_equal(examples.pixel_sums, images.sum(axis=(1, 2), dtype=int))
        assert dataset.counts[part] == np.bincount(labels).tolist()


def test_pixels_stand_in_ink_order(data, source):
    dataset = prepare("shapes", data_dir=data, source=source)
    inked = np.count_nonzero(dataset.train.pixels, axis=0)
    assert (np.diff(inked) <= 0).all()
    for row, extent in zip(dataset.test.pixels, dataset.test.extents, strict=True):
        assert not row[extent:].any()
        assert extent == 0 or row[extent - 1]


def test_arrays_are_mapped_from_files(data, source):
    prepare("shapes", data_dir=data, source=source)
    pixels = load("shapes", data).train.pixels
    assert type(pixels) is np.ndarray
    assert isinstance(pixels.base, np.memmap)


def test_compressed_files_and_dotted_names_are_the_same_data(data, source):
    digest = prepare("plain", data_dir=data, source=source).digest
    compress(source)
    (source / f"{TEST_LABELS}.gz").rename(source / "t10k-labels.idx1-ubyte.gz")
    assert prepare("compressed", data_dir=data, source=source).digest == digest


def test_names_and_labels_of_qmnist_are_the_same_data(data, source, arrays):
    digest = prepare("plain", data_dir=data, source=source).digest
    (source / "raw").mkdir()
    for name, array in arrays.items():
        (source / name).rename(source / "raw" / f"qmnist-{name}")
        if "labels" in name:
            (source / "raw" / f"qmnist-{name}").unlink()
            table = np.stack([array, np.full(len(array), 60_000)], axis=1).astype(">i4")
            content = b"\0\0\x0c\x02" + np.array(table.shape, ">u4").tobytes() + table.tobytes()
            (source / "raw" / f"qmnist-{name.replace('idx1-ubyte', 'idx2-int')}").write_bytes(content)
    assert prepare("qmnist", data_dir=data, source=source).digest == digest


def test_digits_come_without_a_source(data):
    dataset = prepare("digits", data_dir=data)
    assert (len(dataset.train), len(dataset.test), dataset.image_shape, dataset.classes) == (1437, 360, (8, 8), 10)
    assert dataset.train.pixels.max() == 255


def test_mnist_is_found_through_the_environment(data, like_mnist, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(like_mnist))
    assert prepare("mnist", data_dir=data).classes == 4


def test_source_goes_before_the_environment(data, like_mnist, monkeypatch, tmp_path):
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "nowhere"))
    assert prepare("mnist", data_dir=data, source=like_mnist).classes == 4


def test_what_is_prepared_needs_no_source(data, like_mnist):
    digest = prepare("mnist", data_dir=data, source=like_mnist).digest
    assert prepare("mnist", data_dir=data).digest == digest


def test_other_content_under_a_known_name_is_refused(data, source, arrays):
    prepare("shapes", data_dir=data, source=source)
    write_idx(source / TEST_LABELS, arrays[TEST_LABELS][::-1])
    with pytest.raises(PipelineError, match="holds another data set"):
        prepare("shapes", data_dir=data, source=source)


@pytest.mark.parametrize("damage", ["change", "cut", "remove", "describe"])
def test_a_damaged_data_set_is_made_again(data, source, damage):
    digest = prepare("shapes", data_dir=data, source=source).digest
    file = data / "shapes" / ("dataset.json" if damage == "describe" else "train_pixels.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if damage == "cut" else content)
    assert prepare("shapes", data_dir=data, source=source).digest == digest
    assert prepare("shapes", data_dir=data).digest == digest


def describe(folder, **changes):
    """Change the description of a prepared data set."""
    file = folder / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def replace_array(folder, key, array):
    """Change an array of a prepared data set."""
    file = io.BytesIO()
    np.save(file, array)
    replace_file(folder, key, file.getvalue())


def replace_file(folder, key, content):
    """Change the file of an array, and its digest in the description too."""
    (folder / f"{key}.npy").write_bytes(content)
    digests = json.loads((folder / "dataset.json").read_text())["files"]
    describe(folder, files=digests | {key: hashlib.sha256(content).hexdigest()})


def array_of(shape):
    """The file of an array of bytes whose header promises `shape`, and which holds four of them."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(4)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # NumPy's, of the largest array
@pytest.mark.parametrize(
    "change",
    [
        lambda folder: describe(folder, image_shape=[-5, -3]),
        lambda folder: describe(folder, image_shape=[5.0, 3]),
        lambda folder: describe(folder, image_shape=[10**30, 3]),
        lambda folder: describe(folder, image_shape="53"),
        lambda folder: describe(folder, image_shape=None),
        lambda folder: describe(folder, digest=7),
        lambda folder: describe(folder, digest="../\x1b[31m"),
        lambda folder: describe(folder, files=["train_pixels"]),
        lambda folder: describe(folder, files={"../../etc/passwd": ""}),
        lambda folder: (folder / "dataset.json").write_text("[" * 100_000),
        lambda folder: (folder / "dataset.json").write_text("[]"),
        lambda folder: (folder / "dataset.json").write_bytes(b"\xff"),
        lambda folder: replace_array(folder, "pixel_order", np.arange(15) + 1),
        lambda folder: replace_array(folder, "pixel_order", np.zeros((0, 2), np.intp)),
        lambda folder: replace_array(folder, "train_pixels", np.zeros((50, 15))),
        lambda folder: replace_array(folder, "train_pixels", np.zeros((49, 15), np.uint8)),
        lambda folder: replace_array(folder, "train_labels", np.zeros(0, np.uint8)),
        lambda folder: replace_array(folder, "train_labels", np.full(50, "label")),
        lambda folder: replace_array(folder, "test_labels", np.full(20, 9, np.uint8)),
        lambda folder: replace_array(folder, "test_extents", np.full(20, 16)),
        lambda folder: replace_array(folder, "test_extents", np.full(20, -1)),
        lambda folder: replace_file(folder, "test_labels", array_of((9 * 10**20,))),
        lambda folder: replace_file(folder, "test_labels", array_of((2**40, 2**40))),
        lambda folder: replace_file(folder, "test_labels", array_of((-4,))),
        lambda folder: replace_file(folder, "test_labels", b""),
    ],
)
def test_a_prepared_data_set_that_is_made_to_be_misread_is_made_again(data, source, change):
    digest = prepare("shapes", data_dir=data, source=source).digest
    change(data / "shapes")
    assert prepare("shapes", data_dir=data, source=source).digest == digest
    assert load("shapes", data).classes == 4


def test_an_array_is_made_as_numpy_does(data, source):
    prepare("shapes", data_dir=data, source=source)
    replace_file(data / "shapes", "test_labels", array_of((4,)))
    assert np.load(data / "shapes" / "test_labels.npy").tolist() == [0] * 4


def test_classes_are_those_of_the_labels_whatever_the_description_says(data, source):
    prepare("shapes", data_dir=data, source=source)
    describe(data / "shapes", classes=-3, counts={"train": [7]})
    dataset = prepare("shapes", data_dir=data)
    assert (dataset.classes, dataset.counts["train"]) == (4, [13, 13, 12, 12])


def test_a_killed_prepare_leaves_nothing_or_a_whole_data_set(data):
    # The process dies in the n-th call that makes something durable or visible.
    script = (
        "import os, pathlib, runpy, sys\n"
        "left = [int(sys.argv.pop(1))]\n"
        "def deadly(call):\n"
        "    def run(*arguments, **more):\n"
        "        left[0] -= 1\n"
        "        if not left[0]: os.kill(os.getpid(), 9)\n"
        "        return call(*arguments, **more)\n"
        "    return run\n"
        "os.fsync = deadly(os.fsync)\n"
        "pathlib.Path.rename = deadly(pathlib.Path.rename)\n"
        "from pipeline.data import datasets\n"
        "datasets.prepare('digits', data_dir=pathlib.Path(sys.argv[1]), quiet=True)\n"
    )
    whole = prepare("digits", data_dir=data / "whole").digest
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    outcomes = set()
    for number in range(1, 12):
        done = subprocess.run(
            [sys.executable, "-c", script, str(number), str(data)], env=environment, capture_output=True, check=False
        )
        outcomes.add(done.returncode)
        if done.returncode == -signal.SIGKILL:
            with pytest.raises(PipelineError, match="prepare it first"):
                load("digits", data)
        else:
            assert load("digits", data).digest == whole
    assert outcomes == {-signal.SIGKILL, 0}
    assert [file.name for file in data.iterdir() if file.name.startswith(".")] == []


def test_two_at_once_both_end_well(data):
    script = (
        "import pathlib, sys; from pipeline.data import datasets;"
        "print(datasets.prepare('digits', data_dir=pathlib.Path(sys.argv[1]), quiet=True).digest)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(data)],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    digests = {process.communicate()[0] for process in processes}
    assert len(digests) == 1
    assert {process.returncode for process in processes} == {0}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda folder, _: (folder / TEST_LABELS).unlink(), "has no test labels"),
        (lambda folder, a: write_idx(folder / TRAIN_LABELS, a[TRAIN_LABELS][:-1]), "50 training images and 49 labels"),
        (lambda folder, a: write_idx(folder / TEST_LABELS, a[TEST_LABELS] + 1), "label 4 among its test images"),
        (lambda folder, a: write_idx(folder / TEST_IMAGES, a[TEST_IMAGES][:, :4]), "of one size"),
        (lambda folder, a: write_idx(folder / TRAIN_IMAGES, a[TRAIN_LABELS]), "holds unsigned bytes in 1 dimension"),
        (
            lambda folder, a: [
                write_idx(folder / TEST_IMAGES, a[TEST_IMAGES][:0]),
                write_idx(folder / TEST_LABELS, a[TEST_LABELS][:0]),
            ],
            "has no test images",
        ),
    ],
)
def test_what_is_no_data_set_is_refused_and_leaves_nothing(data, source, arrays, change, fault):
    change(source, arrays)
    with pytest.raises(PipelineError, match=fault) as caught:
        prepare("shapes", data_dir=data, source=source)
    assert "\n" not in str(caught.value)
    assert not data.exists()


def test_mnist_with_another_content_is_refused(data, source):
    with pytest.raises(PipelineError, match=r"is not the file train-images-idx3-ubyte of MNIST.*-P dataset=NAME"):
        prepare("mnist", data_dir=data, source=source)
    assert not data.exists()


@pytest.mark.parametrize("name", ["mnist", "shapes"])
def test_a_source_that_is_no_folder_is_refused_with_the_path_that_was_tried(data, tmp_path, name):
    with pytest.raises(PipelineError, match=f"^source is 'idx', and {tmp_path}/idx is not a folder; give the folder"):
        prepare(name, data_dir=data, source=Path("idx"))


def test_a_folder_of_the_environment_is_named_by_its_variable(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", "idx")
    with pytest.raises(PipelineError, match=f"^MNIST_DIR is 'idx', and {tmp_path}/idx is not a folder"):
        prepare("mnist", data_dir=data)


def test_a_tilde_stands_for_the_home_folder(data, source, monkeypatch):
    monkeypatch.setenv("HOME", str(source.parent))
    assert prepare("shapes", data_dir=data, source=Path("~/source")).classes == 4
    with pytest.raises(PipelineError, match=f"^source is '~/idx', and {source.parent}/idx is not a folder"):
        prepare("others", data_dir=data, source=Path("~/idx"))
    with pytest.raises(PipelineError, match=r"^source is '~nobody-of-that-name', and .*~nobody-of-that-name is not a"):
        prepare("others", data_dir=data, source=Path("~nobody-of-that-name"))


def test_the_digits_take_no_source(data, source):
    prepare("digits", data_dir=data)
    with pytest.raises(
        UsageError, match=f"^dataset is 'digits', .* source is '{source}'; leave the source out, or give "
    ):
        prepare("digits", data_dir=data, source=source)


@pytest.mark.parametrize("name", ["fashion", "cifar10"])
def test_an_unknown_name_needs_a_source(data, name):
    with pytest.raises(UsageError, match=f"'{name}'.*mnist or digits.*-P source=DIR"):
        prepare(name, data_dir=data)


@pytest.mark.parametrize(
    ("labels", "warning"),
    [
        ([1, 2, 3], "shapes has no training images of class 0; its highest label makes 4 classes."),
        ([1, 2, 4, 8], "shapes has no training images of the classes 0, 3, 5 to 7; its highest label makes 9 classes."),
        ([0, 1, 2, 255], "shapes has no training images of the classes 3 to 254; its highest label makes 256 classes."),
    ],
)
def test_classes_without_images_are_named(data, source, capsys, labels, warning):
    write_idx(source / TRAIN_LABELS, np.resize(np.array(labels, np.uint8), 50))
    write_idx(source / TEST_LABELS, np.resize(np.array(labels[:2], np.uint8), 20))
    prepare("shapes", data_dir=data, source=source)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Warning: {warning}")
    assert line.endswith(f"remove {data / 'shapes'} and prepare the data again.")


def test_a_data_set_of_which_every_class_has_images_goes_without_a_warning(data, source, capsys):
    prepare("shapes", data_dir=data, source=source)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "../elsewhere", "a b", ".hidden"])
def test_a_name_cannot_lead_out_of_the_folder(data, source, name):
    with pytest.raises(UsageError, match="has to be of letters"):
        prepare(name, data_dir=data, source=source)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, source):
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match=r"cannot be written.*-P data_dir=DIR"):
        prepare("shapes", data_dir=tmp_path / "file", source=source)


def test_digest_depends_on_content_alone(data, source):
    one = prepare("one", data_dir=data, source=source).digest
    assert prepare("two", data_dir=data, source=source).digest == one
    assert json.loads((data / "one/dataset.json").read_text())["digest"] == one


def test_the_real_mnist(data, mnist):
    dataset = prepare("mnist", data_dir=data, source=mnist)
    assert (len(dataset.train), len(dataset.test), dataset.image_shape, dataset.classes) == (60000, 10000, (28, 28), 10)
    chosen = np.random.default_rng(0).choice(60000, 20, replace=False)
    assert (dataset.images("train", chosen).reshape(20, -1).max(axis=1) > 200).all()
