"""A data set as a folder of four idx files: the common file names show the role of each file.

MNIST's own names are `train-images-idx3-ubyte` and so on. Other data sets use similar names:
`emnist-letters-test-labels-idx1-ubyte.gz`, `qmnist-train-labels-idx2-int.gz`, `T10K-IMAGES.IDX3-UBYTE`. Torchvision
puts the files into a folder `raw`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.errors import PipelineError

_ROLES: Final = {
    "training images": "train-images-idx3-ubyte",
    "training labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}
"""MNIST's file name for each role."""
_WORDS: Final = {"train": "training", "training": "training", "t10k": "test", "test": "test",
                 "images": "images", "image": "images", "labels": "labels", "label": "labels"}  # fmt: skip
_LISTED: Final = 12
"""How many file names a message lists."""


class IdxFiles(NamedTuple):
    """The four files of a data set."""

    train_images: Path
    train_labels: Path
    test_images: Path
    test_labels: Path


def find_idx_files(folder: Path, given_as: str) -> IdxFiles:
    """Find the four files in a folder, or in its subfolder `raw`.

    Args:
        folder: absolute path of the folder.
        given_as: what the user wrote, and where: "source is 'idx'".

    Raises:
        PipelineError: the folder does not exist, or for one of the roles there is no file or more than one.
    """
    names = _names(folder, given_as)
    raw = next((name for name in names if name.lower() == "raw" and (folder / name).is_dir()), None)
    found = _by_role(folder, names)
    if raw and not any(found.values()):
        folder = folder / raw
        names = _names(folder, given_as)
        found = _by_role(folder, names)
    faults = {
        role: f"{_listed([file.name for file in files])} for the {role}" if files else f"no {role}"
        for role, files in found.items()
        if len(files) != 1
    }
    if faults:
        example = _ROLES[next(iter(faults))]
        raise PipelineError(
            f"{given_as}, and {folder} has {' and '.join(faults.values())}; it has to hold one idx file each of "
            f"{', '.join(_ROLES)}, such as {example} or {example}.gz. It holds {_listed(names) or 'nothing'}."
        )
    return IdxFiles(*(files[0] for files in found.values()))


def _names(folder: Path, given_as: str) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        fault = "is not a folder" if not folder.is_dir() else f"cannot be read ({error.strerror})"
        raise PipelineError(
            f"{given_as}, and {folder} {fault}; give the folder with the four idx files of the data set, best with its "
            "absolute path, because `mlflow run` starts in the folder of the project."
        ) from error


def _by_role(folder: Path, names: Sequence[str]) -> dict[str, list[Path]]:
    """Find the files for each role; if a file has MNIST's own name, the others for this role are ignored."""
    roles: dict[str, dict[str, Path]] = {role: {} for role in _ROLES}
    for name in names:
        words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word not in ("", "gz")]
        role = " ".join(sorted({_WORDS[word] for word in words if word in _WORDS}, reverse=True))
        if role in roles and {"idx1", "idx2", "idx3", "ubyte"} & set(words) and (folder / name).is_file():
            # A file and its compressed copy are equal; the plain file comes first, because its name is shorter.
            roles[role].setdefault("-".join(words), folder / name)
    return {
        role: [files[_ROLES[role]]] if _ROLES[role] in files else list(files.values()) for role, files in roles.items()
    }


def _listed(names: Sequence[str]) -> str:
    """List some names in a line; control characters are escaped, because they could change the terminal."""
    shown = [name if name.isprintable() else repr(name)[1:-1] for name in names[:_LISTED]]
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join(shown + more)
