import threading

import numpy as np
import pytest

from pipeline.config import TrainingConfig
from pipeline.tracking.acquisition import acquire
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.task import Status, Task
from pipeline.training.trainer import train

CONFIG = TrainingConfig(dataset="digits", hidden_sizes=(4,), max_epoch=1, init_std="he")


def trained(store, data_dir, folder, monkeypatch, forge=None):
    """Train a network whose checkpoint folder somebody else has written to; gives its outcome and its events."""
    events = []

    def acquire_and_forge(*args, **kwargs):
        run = acquire(*args, **kwargs)
        if forge:
            Checkpoints(folder / run.run_id).save(1, *forge)
        return run

    monkeypatch.setattr("pipeline.training.trainer.acquire", acquire_and_forge)
    task = Task(CONFIG, f"f {folder.name}", store, None, data_dir, folder)
    return train(task, report=events.append, stop=threading.Event()), events


NOTES = {"position": {"epoch": 0}, "seconds": 0.0, "pending": [], "evaluated": []}


@pytest.mark.parametrize(
    ("arrays", "notes"),
    [({}, {}), ({"network/weight_0": np.zeros((10**6, 2))}, NOTES), ({"network/layer0.weight": np.zeros(3)}, NOTES)],
)
def test_a_checkpoint_that_does_not_fit_the_network_is_passed_over(
    store, data_dir, tmp_path, monkeypatch, arrays, notes
):
    alone, _ = trained(store, data_dir, tmp_path / "alone", monkeypatch)
    outcome, events = trained(store, data_dir, tmp_path / "forged", monkeypatch, (arrays, notes))
    assert (outcome.status, outcome.reason) == (Status.FINISHED, "")
    assert outcome.metrics["test_loss"] == alone.metrics["test_loss"]
    assert not any(event.text.startswith("goes on") for event in events)
