"""The sources of data sets: MNIST and scikit-learn's digits have names; others come from a folder of idx files."""

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data.idx import IdxError, read_idx, read_idx_labels
from pipeline.data.idx_folder import find_idx_files
from pipeline.errors import PipelineError, UsageError

Images = NDArray[np.uint8]

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


class Raw(NamedTuple):
    """A data set as its source gives it: images (n, rows, columns) and labels (n,), all uint8."""

    train_images: Images
    train_labels: Images
    test_images: Images
    test_labels: Images


def read_source(name: str, source: Path | None, *, quiet: bool) -> Raw:
    """Read a data set from its source.

    Args:
        name: one of `BUILT_IN`, or any other together with `source`.
        source: a folder with the four idx files of the data set.
        quiet: show no progress.

    Raises:
        UsageError: the name is unknown, or `source` is given for data that needs no source.
        PipelineError: the data cannot be downloaded, read or verified, or the files do not match each other.
    """
    if name in BUILT_IN:
        raw = BUILT_IN[name](source, quiet)
    elif source is None:
        raise UsageError(
            f"dataset is {name!r}; it has to be {' or '.join(BUILT_IN)}, or one of your own with -P source=DIR, "
            "a folder with its four idx files."
        )
    else:
        raw = _read_folder(source, "source")
    _check(name, raw)
    return raw


def _digits(source: Path | None, _quiet: bool) -> Raw:
    """Read the 8 x 8 digits bundled with scikit-learn: the first 1,437 for training, the last 360 for testing."""
    if source:
        raise UsageError(
            f"dataset is 'digits', which is bundled with scikit-learn, and source is {str(source)!r}; leave the source "
            "out, or give the data in it another name with -P dataset=NAME."
        )
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    cut = _DIGITS_FOR_TRAINING
    return Raw(images[:cut], labels[:cut], images[cut:], labels[cut:])


def _mnist(source: Path | None, quiet: bool) -> Raw:
    """Read MNIST from `source`, or from the folder in MNIST_DIR, or from the public mirrors."""
    if source:
        return _read_folder(source, "source", MNIST_DIGESTS)
    if os.environ.get("MNIST_DIR"):
        return _read_folder(Path(os.environ["MNIST_DIR"]), "MNIST_DIR", MNIST_DIGESTS)
    from pipeline.data.download import download

    with tempfile.TemporaryDirectory(prefix="mnist-", ignore_cleanup_errors=True) as temporary:
        checks = {f"{file}.gz": partial(read_verified, file=file, digests=MNIST_DIGESTS) for file in MNIST_DIGESTS}
        download(MIRRORS, checks, Path(temporary), quiet=quiet)
        return _read_folder(Path(temporary), "The download", MNIST_DIGESTS)


BUILT_IN: Final[Mapping[str, Callable[[Path | None, bool], Raw]]] = {"mnist": _mnist, "digits": _digits}
"""The data sets that need no `source`: the function that reads each, by name."""


def _read_folder(folder: Path, option: str, digests: Mapping[str, str] | None = None) -> Raw:
    """Read the four idx files of a folder, and verify them if their digests are known.

    Args:
        folder: the folder as the user wrote it.
        option: the option with which the user gave the folder.
        digests: the right digests, by MNIST's file names.
    """
    try:
        absolute = folder.expanduser().absolute()
    except RuntimeError:  # the home of a user that this machine does not know
        absolute = folder.absolute()
    files = find_idx_files(absolute, f"{option} is {str(folder)!r}")
    return Raw(
        *(read_verified(path, file=file, digests=digests) for path, file in zip(files, MNIST_DIGESTS, strict=True))
    )


def read_verified(path: Path, *, file: str, digests: Mapping[str, str] | None) -> Images:
    """Read one of the four files and check its digest; `file` is its name in MNIST."""
    array, digest = read_idx(path, 3) if "images" in file else read_idx_labels(path)
    if digests and digest != digests[file]:
        raise IdxError(
            path,
            f"is not the file {file} of MNIST: its content has the sha256 {digest} instead of {digests[file]}",
            "get the original, or give your data set another name with -P dataset=NAME",
        )
    return array


def _check(name: str, raw: Raw) -> None:
    """Refuse arrays that do not match each other."""
    for split, images, labels in (("training", *raw[:2]), ("test", *raw[2:])):
        if len(images) != len(labels):
            raise PipelineError(
                f"{name} has {len(images)} {split} images and {len(labels)} labels; they have to be as many."
            )
        if not images.size:
            raise PipelineError(f"{name} has no {split} images.")
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
