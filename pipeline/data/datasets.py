"""Data sets: brought into the data folder once, verified, in a form that all worker processes map and share.

A prepared data set is a folder of NumPy arrays with `dataset.json`, which holds the digest of each. It is written to
one side and renamed into place, so that it is there as a whole or not at all.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.examples import Examples
from model.ink import ink_extents, ink_order, ink_totals
from pipeline.data.idx import read_idx
from pipeline.errors import PipelineError, UsageError

MIRRORS: Final = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
]
MNIST_DIGESTS: Final = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""sha256 of the decompressed files of MNIST, by name, in the order train, test and images, labels."""

_DIGITS_FOR_TRAINING: Final = 1437
_DESCRIPTION: Final = "dataset.json"
_FORMAT: Final = 1
_ARRAYS: Final = (
    "train_pixels", "train_extents", "train_labels", "test_pixels", "test_extents", "test_labels", "pixel_order",
)  # fmt: skip
_WRITING: Final = ".writing-"

Images = NDArray[np.uint8]


class Raw(NamedTuple):
    """A data set as it comes: images (n, rows, columns) and labels (n,), all uint8."""

    train_images: Images
    train_labels: Images
    test_images: Images
    test_labels: Images


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set; its arrays are mapped from files.

    Attributes:
        name: of the folder it is in.
        digest: of all images and labels.
        image_shape: rows and columns of an image.
        classes: how many there are; labels count from 0.
        counts: images of each class, by "train" and "test".
        pixel_order: (features,), the natural position of each column of `pixels`.
        train: the images to train on.
        test: the images to test on.
    """

    name: str
    digest: str
    image_shape: tuple[int, int]
    classes: int
    counts: Mapping[str, list[int]]
    pixel_order: NDArray[np.intp]
    train: Examples
    test: Examples

    def images(self, part: Literal["train", "test"], indices: NDArray[np.integer[Any]]) -> Images:
        """Images in natural pixel order, (len(indices), rows, columns)."""
        pixels = (self.train if part == "train" else self.test).pixels[indices]
        natural: Images = np.empty_like(pixels)
        natural[:, self.pixel_order] = pixels
        return natural.reshape(-1, *self.image_shape)


def prepare(name: str, *, data_dir: Path, source: Path | None = None, quiet: bool = False) -> Dataset:
    """Bring a data set into `data_dir`/`name` if it is not there yet, and open it.

    Args:
        name: one of `BUILT_IN`, or any other together with `source`.
        data_dir: the folder of all prepared data sets.
        source: a folder with the four idx files of the data set.
        quiet: show no progress.

    Raises:
        UsageError: for a name that nothing is known of.
        PipelineError: if the data cannot be had, read, verified or written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UsageError(f"dataset is {name!r}; a name has to be of letters, digits, - and _.")
    folder = data_dir / name
    there = _whole(folder)
    if there and source is None:
        return load(name, data_dir)
    if name not in BUILT_IN and source is None:
        raise UsageError(
            f"dataset is {name!r}; it has to be {' or '.join(BUILT_IN)}, or one of your own with -P source=DIR, "
            "a folder with its four idx files."
        )
    raw = BUILT_IN[name](source, quiet) if name in BUILT_IN else _from_folder(name, _existing(source))
    _check(name, raw)
    if there:
        if load(name, data_dir).digest != _digest(raw):
            raise PipelineError(
                f"{folder} holds another data set than {source}; remove that folder, or choose another dataset name."
            )
    else:
        _write(folder, name, raw)
    return load(name, data_dir)


def load(name: str, data_dir: Path) -> Dataset:
    """Open a prepared data set, as worker processes do: its files are mapped, and pixels only summed up.

    Raises:
        PipelineError: if it is not there.
    """
    folder = data_dir / name
    try:
        description = json.loads((folder / _DESCRIPTION).read_text())
        arrays = {key: _mapped(folder / f"{key}.npy") for key in _ARRAYS}
        train, test = (
            Examples(pixels, arrays[f"{part}_extents"], ink_totals(pixels), arrays[f"{part}_labels"])
            for part, pixels in (("train", arrays["train_pixels"]), ("test", arrays["test_pixels"]))
        )
        return Dataset(
            name,
            description["digest"],
            tuple(description["image_shape"]),
            description["classes"],
            description["counts"],
            arrays["pixel_order"],
            train,
            test,
        )
    except (OSError, ValueError, KeyError) as error:
        raise PipelineError(
            f"There is no data set {name!r} in {data_dir} ({error}); prepare it first: mlflow run . -e prepare "
            f"-P dataset={name}"
        ) from error


def _mapped(file: Path) -> NDArray[Any]:
    """An array whose memory is the file. As plain array: NumPy's class of maps takes time in each small operation."""
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _digits(_source: Path | None, _quiet: bool) -> Raw:
    """The 8 x 8 digits bundled with scikit-learn: the first 1,437 to train on, the last 360 to test on."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    cut = _DIGITS_FOR_TRAINING
    return Raw(images[:cut], labels[:cut], images[cut:], labels[cut:])


def _mnist(source: Path | None, quiet: bool) -> Raw:
    """MNIST from `source`, else the folder that MNIST_DIR names, else the public mirrors."""
    folder = source or (Path(os.environ["MNIST_DIR"]) if os.environ.get("MNIST_DIR") else None)
    if folder:
        return _from_folder("mnist", folder, MNIST_DIGESTS)
    from pipeline.data.download import download

    with tempfile.TemporaryDirectory(prefix="mnist-") as temporary:
        download(MIRRORS, [f"{file}.gz" for file in MNIST_DIGESTS], Path(temporary), quiet=quiet)
        return _from_folder("mnist", Path(temporary), MNIST_DIGESTS)


BUILT_IN: Final[Mapping[str, Callable[[Path | None, bool], Raw]]] = {"mnist": _mnist, "digits": _digits}
"""The data sets that need no description, by name: how each is had."""


def _existing(source: Path | None) -> Path:
    assert source is not None  # noqa: S101 - `prepare` has seen to it
    return source


def _from_folder(name: str, folder: Path, digests: Mapping[str, str] | None = None) -> Raw:
    """The four idx files of a folder, verified where their digests are known."""
    if not folder.is_dir():
        raise PipelineError(
            f"source is {str(folder)!r}, which is not a folder; it has to hold {', '.join(MNIST_DIGESTS)}."
        )
    arrays = []
    for file in MNIST_DIGESTS:
        path = _found(folder, file)
        array, digest = read_idx(path, 3 if "images" in file else 1)
        if digests and digest != digests[file]:
            raise PipelineError(
                f"{path} is not the file of {name}: its content has the sha256 {digest} instead of {digests[file]}. "
                "Get the original, or give your data set another name with -P dataset=NAME."
            )
        arrays.append(array)
    return Raw(*arrays)


def _found(folder: Path, file: str) -> Path:
    dotted = file.replace("-idx", ".idx")
    for name in (file, f"{file}.gz", dotted, f"{dotted}.gz"):
        if (folder / name).is_file():
            return folder / name
    raise PipelineError(f"{folder} lacks {file} (or {file}.gz); it has to hold {', '.join(MNIST_DIGESTS)}.")


def _check(name: str, raw: Raw) -> None:
    """Refuse arrays that are not one data set."""
    for part, images, labels in (("training", *raw[:2]), ("test", *raw[2:])):
        if len(images) != len(labels):
            raise PipelineError(
                f"{name} has {len(images)} {part} images and {len(labels)} labels; they have to be as many."
            )
        if not images.size:
            raise PipelineError(f"{name} has no {part} images.")
    if raw.train_images.shape[1:] != raw.test_images.shape[1:]:
        raise PipelineError(
            f"{name} has training images of {raw.train_images.shape[1:]} pixels and test images of "
            f"{raw.test_images.shape[1:]}; they have to be of one size."
        )
    if raw.test_labels.max() > raw.train_labels.max():
        raise PipelineError(
            f"{name} has the label {raw.test_labels.max()} among its test images; the classes of its training images "
            f"are 0 to {raw.train_labels.max()}."
        )
    if name == "mnist" and raw.train_labels.max() > 9:  # noqa: PLR2004 - digits
        raise PipelineError(f"{name} has the label {raw.train_labels.max()}; its classes are 0 to 9.")


def _digest(raw: Raw) -> str:
    digest = hashlib.sha256()
    for array in raw:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


def _write(folder: Path, name: str, raw: Raw) -> None:
    """Write the prepared form to one side, then rename it into place."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        written = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{_WRITING}{name}-{os.getpid()}-"))
        try:
            written.chmod(0o755)
            _write_arrays(written, raw)
            _move_into_place(written, folder)
        finally:
            shutil.rmtree(written, ignore_errors=True)
    except OSError as error:
        raise PipelineError(
            f"The data set cannot be written to {folder} ({error.strerror or error}); make room or allow writing "
            "there, or choose another folder with -P data_dir=DIR."
        ) from error


def _write_arrays(folder: Path, raw: Raw) -> None:
    features = raw.train_images[0].size
    order = ink_order(raw.train_images.reshape(-1, features))
    arrays: dict[str, NDArray[Any]] = {"pixel_order": order}
    for part, images, labels in (("train", *raw[:2]), ("test", *raw[2:])):
        pixels = np.take(images.reshape(-1, features), order, axis=1)
        arrays |= {f"{part}_pixels": pixels, f"{part}_extents": ink_extents(pixels), f"{part}_labels": labels}
    digests = {key: _save(folder / f"{key}.npy", array) for key, array in arrays.items()}
    classes = int(raw.train_labels.max()) + 1
    description = {
        "format": _FORMAT,
        "digest": _digest(raw),
        "image_shape": raw.train_images.shape[1:],
        "classes": classes,
        "counts": {
            part: np.bincount(labels, minlength=classes).tolist()
            for part, labels in (("train", raw.train_labels), ("test", raw.test_labels))
        },
        "files": digests,
    }
    with (folder / _DESCRIPTION).open("w") as file:
        json.dump(description, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _save(path: Path, array: NDArray[Any]) -> str:
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return _file_digest(path)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _whole(folder: Path) -> bool:
    """Whether a prepared data set is there with every byte as it was written."""
    try:
        description = json.loads((folder / _DESCRIPTION).read_text())
        return bool(
            description["format"] == _FORMAT
            and set(description["files"]) == set(_ARRAYS)
            and all(_file_digest(folder / f"{key}.npy") == digest for key, digest in description["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _move_into_place(written: Path, folder: Path) -> None:
    try:
        written.rename(folder)
    except OSError:
        if _whole(folder):  # another process prepared it meanwhile
            return
        damaged = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{_WRITING}{folder.name}-{os.getpid()}-"))
        folder.rename(damaged / "damaged")
        written.rename(folder)
        shutil.rmtree(damaged, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left of this data set half-written."""
    import psutil

    for leftover in folder.parent.glob(f"{_WRITING}{folder.name}-*"):
        process = leftover.name.removeprefix(f"{_WRITING}{folder.name}-").partition("-")[0]
        if not (process.isdigit() and psutil.pid_exists(int(process))):
            shutil.rmtree(leftover, ignore_errors=True)
