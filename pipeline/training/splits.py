"""The split of a data set into training images and evaluation images."""

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
    """Give the training images and the evaluation images."""
    if not config.validation:
        return dataset.train, dataset.test
    kept = len(dataset.train) - len(dataset.train) // _HOLDOUT
    return dataset.train[:kept], dataset.train[kept:]


def check_batch_size(config: TrainingConfig, dataset: Dataset) -> None:
    """Refuse a mini-batch that is larger than the training set.

    Raises:
        UsageError: the mini-batch is larger; the message names both sizes.
    """
    size = len(split(config, dataset)[0])
    if config.batch_size > size:
        raise UsageError(
            f"batch_size is {config.batch_size}; it has to be at most {size}, the training images of {dataset.name}."
        )


def batches_an_epoch(config: TrainingConfig, dataset: Dataset) -> int:
    """Count the mini-batches of an epoch, including a smaller last one."""
    return -(-len(split(config, dataset)[0]) // config.batch_size)


def lineage(dataset: Dataset, context: str, data_dir: Path) -> DataLineage:
    """Describe a data set for MLflow's lineage."""
    profile = json.dumps({"train": len(dataset.train), "test": len(dataset.test), "classes": dataset.classes})
    return DataLineage(dataset.name, dataset.digest, str(data_dir / dataset.name), profile, context)
