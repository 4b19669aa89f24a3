"""The predictions of a finished run for its evaluation images; with them, networks can be compared image by image."""

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data.datasets import Dataset
from pipeline.errors import PipelineError, first_line
from pipeline.output import warn
from pipeline.tracking.models import load_served
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import Store

ARTIFACT: Final = "predictions.npz"
"""The artifact's name; it holds the arrays `predicted` and `labels`, a byte for each image."""
_MOST_BYTES: Final = 2**28
"""A small compressed file could otherwise fill the memory."""


class Predictions(NamedTuple):
    """The predictions of a network for its evaluation images.

    Attributes:
        predicted: (images,), the predicted classes.
        labels: (images,), the right classes.
    """

    predicted: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(images,), whether each prediction is right."""
        right: NDArray[np.bool_] = np.equal(self.predicted, self.labels)
        return right


def keep(run: OwnedRun, predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> None:
    """Store predictions and labels as an artifact of a run."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, ARTIFACT)
        np.savez_compressed(file, predicted=predicted.astype(np.uint8), labels=labels.astype(np.uint8))
        run.log_file(file)


def _read(file: Path, name: str) -> Predictions | None:
    """Read what `keep` stored; None, with a warning, if the file holds anything else."""
    try:
        with zipfile.ZipFile(file) as archive:
            too_large = sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES
        with np.load(file, allow_pickle=False) as arrays:
            found = None if too_large else Predictions(arrays["predicted"], arrays["labels"])
    except Exception as error:  # noqa: BLE001 - whatever the bytes of a stranger make NumPy raise
        warn(f"{name} cannot be read ({first_line(error).rstrip('.')}); comparisons image by image leave the run out.")
        return None
    if (
        found is None
        or found.predicted.shape != found.labels.shape
        or any(array.ndim != 1 or array.dtype != np.uint8 for array in found)
    ):
        warn(f"{name} does not hold predictions; comparisons image by image leave the run out.")
        return None
    return found


def kept(store: Store, run_id: str, dataset: Callable[[], Dataset]) -> Predictions | None:
    """Load the predictions of a finished run for the test images.

    If the run is older than this artifact, its model classifies the test images again.

    Args:
        store: the store of the run.
        run_id: id of a run that was evaluated on the test images.
        dataset: loads the data set; called only for a run without stored predictions.

    Returns:
        The predictions, or None if the run has neither predictions nor a usable model.
    """
    if any(each.path == ARTIFACT for each in store.call("list_artifacts", run_id)):
        with tempfile.TemporaryDirectory() as temporary:
            file = store.call("download_artifacts", run_id, ARTIFACT, temporary)
            return _read(Path(file), f"{ARTIFACT} of run {run_id}")
    try:
        data = dataset()
        model = load_served(f"runs:/{run_id}/model")
        classes, _ = model.predict(data.images("test", np.arange(len(data.test))))
    except PipelineError:
        return None
    return Predictions(np.asarray(classes, np.uint8), data.test.labels.astype(np.uint8))
