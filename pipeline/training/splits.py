"""How a data set is split: the images that a network is trained on, and those that it is evaluated on."""

import json
from pathlib import Path
from typing import Final

from model.examples import Examples
from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset
from pipeline.errors import UsageError
from pipeline.tracking.runs import DataLineage

_HOLDOUT: Final = 6  # the last sixth of the training images is held out for validation


def split(config: TrainingConfig, dataset: Dataset) -> tuple[Examples, Examples]:
    """The images to train on and those to evaluate on."""
    if not config.validation:
        return dataset.train, dataset.test
    kept = len(dataset.train) - len(dataset.train) // _HOLDOUT
    return dataset.train[:kept], dataset.train[kept:]


def check_batch_size(config: TrainingConfig, dataset: Dataset) -> None:
    """Refuse a mini-batch larger than the data.

    Raises:
        UsageError: naming both sizes.
    """
    size = len(split(config, dataset)[0])
    if config.batch_size > size:
        raise UsageError(
            f"batch_size is {config.batch_size}; it has to be at most {size}, the training images of {dataset.name}."
        )


def batches_an_epoch(config: TrainingConfig, dataset: Dataset) -> int:
    """Mini-batches in an epoch; the last one may be smaller."""
    return -(-len(split(config, dataset)[0]) // config.batch_size)


def lineage(dataset: Dataset, context: str, data_dir: Path) -> DataLineage:
    """What MLflow keeps of a data set."""
    profile = json.dumps({"train": len(dataset.train), "test": len(dataset.test), "classes": dataset.classes})
    return DataLineage(dataset.name, dataset.digest, str(data_dir / dataset.name), profile, context)
