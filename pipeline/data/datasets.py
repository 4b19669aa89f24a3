"""Data sets: prepared once in the data folder, verified, and memory-mapped by all worker processes.

A prepared data set is a folder of NumPy arrays with `dataset.json`, which holds the digest of each array. The folder is
written under a temporary name and then renamed, so that it is never incomplete.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from model.examples import Examples
from model.ink import ink_extents, ink_order, pixel_sums
from pipeline.data.sources import Images, Raw, read_source
from pipeline.errors import PipelineError, UsageError
from pipeline.output import warn

__all__ = ["Dataset", "Images", "load", "prepare"]

DESCRIPTION: Final = "dataset.json"
_FORMAT: Final = 1
ARRAYS: Final = (
    "train_pixels", "train_extents", "train_labels", "test_pixels", "test_extents", "test_labels", "pixel_order",
)  # fmt: skip
_DAMAGE: Final = (OSError, EOFError, ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""The errors of reading a missing, damaged or malicious file."""
_WRITING: Final = ".writing-"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set; its arrays are mapped from files.

    Attributes:
        name: name of the data set and of its folder.
        digest: digest of all images and labels.
        image_shape: rows and columns of an image.
        classes: number of classes; labels count from 0.
        counts: numbers of images of each class, for "train" and "test".
        pixel_order: (features,), the natural position of each column of `pixels`.
        train: the training images.
        test: the test images.
    """

    name: str
    digest: str
    image_shape: tuple[int, int]
    classes: int
    counts: Mapping[str, list[int]]
    pixel_order: NDArray[np.intp]
    train: Examples
    test: Examples

    def images(self, split: Literal["train", "test"], indices: NDArray[np.integer[Any]]) -> Images:
        """Give images as (len(indices), rows, columns), in natural pixel order."""
        pixels = (self.train if split == "train" else self.test).pixels[indices]
        natural: Images = np.empty_like(pixels)
        natural[:, self.pixel_order] = pixels
        return natural.reshape(-1, *self.image_shape)


def prepare(name: str, *, data_dir: Path, source: Path | None = None, quiet: bool = False) -> Dataset:
    """Bring a data set into `data_dir`/`name` if it is not there yet, and open it.

    Args:
        name: one of `sources.BUILT_IN`, or any other together with `source`.
        data_dir: the folder of all prepared data sets.
        source: a folder with the four idx files of the data set.
        quiet: show no progress.

    Raises:
        UsageError: the name is unknown, or `source` is given for data that needs no source.
        PipelineError: the data cannot be downloaded, read, verified or written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UsageError(f"dataset is {name!r}; a name has to be of letters, digits, - and _.")
    folder = data_dir / name
    prepared = load_intact(folder)
    if prepared and source is None:
        return prepared
    raw = read_source(name, source, quiet=quiet)
    if prepared:
        if prepared.digest != _digest(raw):
            raise PipelineError(
                f"{folder} holds another data set than {source}; remove that folder, or choose another dataset name."
            )
        return prepared
    _write(folder, raw)
    dataset = load(name, data_dir)
    _warn_of_empty_classes(dataset, folder)
    return dataset


def _warn_of_empty_classes(dataset: Dataset, folder: Path) -> None:
    """Warn of classes without training images, because the labels may count from 1, or one label may be wrong."""
    empty = [label for label, count in enumerate(dataset.counts["train"]) if not count]
    if empty:
        warn(
            f"{dataset.name} has no training images of {_ranges(empty)}; its highest label makes {dataset.classes} "
            f"classes. If that label is a mistake, mend the label files, remove {folder} and prepare the data again."
        )


def _ranges(labels: Sequence[int]) -> str:
    """Name classes; consecutive ones by the first and the last: "the classes 1 to 4, 7"."""
    runs: list[list[int]] = []
    for label in labels:
        if runs and label == runs[-1][-1] + 1:
            runs[-1].append(label)
        else:
            runs.append([label])
    named = [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"{'class' if len(labels) == 1 else 'the classes'} {', '.join(named)}"


def load(name: str, data_dir: Path) -> Dataset:
    """Open a prepared data set by mapping its files; worker processes call this, too.

    Raises:
        PipelineError: the data set is missing or damaged.
    """
    folder = data_dir / name
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        arrays = {key: _mapped(folder / f"{key}.npy") for key in ARRAYS}
        _check_prepared(description, arrays)
    except _DAMAGE as error:
        raise PipelineError(
            f"There is no data set {name!r} in {data_dir} ({error}); prepare it first: mlflow run . -e prepare "
            f"-P dataset={name}"
        ) from error
    train, test = (
        Examples(pixels, arrays[f"{split}_extents"], pixel_sums(pixels), arrays[f"{split}_labels"])
        for split, pixels in (("train", arrays["train_pixels"]), ("test", arrays["test_pixels"]))
    )
    counts = _class_counts(train.labels, test.labels)
    rows, columns = description["image_shape"]
    return Dataset(
        name, description["digest"], (rows, columns), len(counts["train"]), counts, arrays["pixel_order"], train, test
    )


def _check_prepared(description: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse content that `_write` cannot have written, because others may write to a shared data folder.

    Raises:
        ValueError, TypeError, KeyError: `_write` cannot have written this.
    """
    rows, columns = shape = description["image_shape"]
    order = arrays["pixel_order"]
    if not (
        re.fullmatch(r"[0-9a-f]+", description["digest"]) and all(type(side) is int and side > 0 for side in shape)
    ):
        raise ValueError(f"{DESCRIPTION} is damaged")
    if not np.array_equal(np.sort(order), np.arange(rows * columns)) or order.dtype.kind != "i":
        raise ValueError(f"pixel_order is not one of {rows} x {columns} pixels")
    classes = int(arrays["train_labels"].max(initial=0)) + 1
    for split in ("train", "test"):
        pixels, extents, labels = (arrays[f"{split}_{key}"] for key in ("pixels", "extents", "labels"))
        if not (pixels.dtype == labels.dtype == np.uint8 and extents.dtype.kind == "i"):
            raise ValueError(f"the {split} arrays are of other types")
        if not (len(pixels) and pixels.shape == (len(labels), len(order)) and extents.shape == labels.shape):
            raise ValueError(f"the {split} arrays are of other shapes")
        if not (extents.min() >= 0 and extents.max() <= len(order) and labels.max() < classes):
            raise ValueError(f"the {split} arrays hold values that cannot be")


def _class_counts(train: NDArray[np.integer[Any]], test: NDArray[np.integer[Any]]) -> dict[str, list[int]]:
    classes = int(train.max()) + 1
    return {
        split: np.bincount(labels, minlength=classes).tolist() for split, labels in (("train", train), ("test", test))
    }


def _mapped(file: Path) -> NDArray[Any]:
    """Map a file as a plain array, because `np.memmap` makes each small operation slower."""
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _digest(raw: Raw) -> str:
    digest = hashlib.sha256()
    for array in raw:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


def _write(folder: Path, raw: Raw) -> None:
    """Write the prepared data set to a temporary folder, then rename the folder."""
    try:
        written = begin_writing(folder)
        try:
            _write_arrays(written, raw)
            move_into_place(written, folder)
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
    for split, images, labels in (("train", *raw[:2]), ("test", *raw[2:])):
        pixels = np.take(images.reshape(-1, features), order, axis=1)
        arrays |= {f"{split}_pixels": pixels, f"{split}_extents": ink_extents(pixels), f"{split}_labels": labels}
    digests = {key: _save(folder / f"{key}.npy", array) for key, array in arrays.items()}
    counts = _class_counts(raw.train_labels, raw.test_labels)
    description = {
        "format": _FORMAT,
        "digest": _digest(raw),
        "image_shape": raw.train_images.shape[1:],
        "classes": len(counts["train"]),
        "counts": counts,
        "files": digests,
    }
    with (folder / DESCRIPTION).open("w", encoding="utf-8") as file:
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


def load_intact(folder: Path) -> Dataset | None:
    """Open a prepared data set if the digests of all its files are right; None if they are not."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        intact = (
            description["format"] == _FORMAT
            and set(description["files"]) == set(ARRAYS)
            and all(_file_digest(folder / f"{key}.npy") == digest for key, digest in description["files"].items())
        )
        return load(folder.name, folder.parent) if intact else None
    except (PipelineError, *_DAMAGE):
        return None


def begin_writing(folder: Path) -> Path:
    """Create the temporary folder from which `move_into_place` will make `folder`; remove those of dead processes.

    Raises:
        OSError: the temporary folder cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    written = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{_WRITING}{folder.name}-{os.getpid()}-"))
    written.chmod(0o755)
    return written


def move_into_place(written: Path, folder: Path) -> None:
    """Rename a complete data set to `folder`; an intact one that is already there stays, a damaged one is removed."""
    try:
        written.rename(folder)
    except OSError:
        if load_intact(folder):  # another process prepared it meanwhile
            return
        damaged = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{_WRITING}{folder.name}-{os.getpid()}-"))
        folder.rename(damaged / "damaged")
        written.rename(folder)
        shutil.rmtree(damaged, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove the incomplete folders of this data set that killed processes left."""
    import psutil

    for leftover in folder.parent.glob(f"{_WRITING}{folder.name}-*"):
        process = leftover.name.removeprefix(f"{_WRITING}{folder.name}-").partition("-")[0]
        if not (process.isdigit() and psutil.pid_exists(int(process))):
            shutil.rmtree(leftover, ignore_errors=True)
