"""A network that was trained on the digits, for the tests that use one."""

import os
from typing import NamedTuple

import pytest

from pipeline import commands
from pipeline.config import TrainingConfig
from pipeline.tracking.store import Store
from pipeline.training.networks import Settings
from pipeline.training.task import Outcome


class Trained(NamedTuple):
    store: Store
    outcome: Outcome

    @property
    def model(self):
        return f"runs:/{self.outcome.run_id}/{self.outcome.config.network}"


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory, data_dir):
    folder = tmp_path_factory.mktemp("trained")
    config = TrainingConfig(dataset="digits", loss="hinge", learning_rate=0.1, max_epoch=20)
    with pytest.MonkeyPatch.context() as patch:  # this runs before the test's own folder and environment are set
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.chdir(folder)
        settings = Settings(data_dir=data_dir, checkpoint_dir=folder / "checkpoints", quiet=True)
        outcome = commands.train_one(config, settings, {})
        return Trained(Store.open(), outcome)


@pytest.fixture
def trained(trained_once, monkeypatch):
    """A finished network and its store, which is the one in use."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained_once.store.uri)
    return trained_once
