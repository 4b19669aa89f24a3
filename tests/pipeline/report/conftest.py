"""Made-up runs: a store that says whatever a test wants it to say."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Metric, Param

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import PUBLISHED_SIZES, TrainingConfig
from pipeline.experiments import STUDIES, grid
from pipeline.report import published
from pipeline.report.measured import Measured
from pipeline.training.predictions import ARTIFACT

DIGEST = "0" * 32
BASE = TrainingConfig(test_epoch=50)
NETWORKS = grid(BASE, hidden_sizes=[(128,), (256, 64)], activations=ACTIVATIONS, losses=LOSSES, seeds=[0])
SWEPT = [replace(config, test_epoch=50) for configs in STUDIES.values() for config in configs]


class Maker:
    """Writes finished runs into a store."""

    def __init__(self, store):
        self.store = store

    def run(
        self,
        config,
        *,
        curve=None,
        status="FINISHED",
        digest=DIGEST,
        tags=None,
        lacking=(),
        right=None,
        without=(),
        **figures,
    ):
        """A run whose test accuracy rises in four steps to the final one, unless `curve` says (epoch, accuracy).

        It keeps predictions where `right` says which test images it is right about; its test accuracy is their share.
        """
        if right is not None:
            figures["test_accuracy"] = float(np.mean(right))
        client = self.store.client
        run_id = client.create_run(self.store.experiment_id, run_name=config.name, tags=tags or {}).info.run_id
        part = "validation" if config.validation else "test"
        final = {"train_accuracy": 0.9, "train_loss": 0.5, f"{part}_accuracy": 0.9, f"{part}_loss": 0.5}
        final |= {"train_seconds": 60.0, **figures}
        curve = curve or [(config.max_epoch * n // 4, final[f"{part}_accuracy"] * n / 4) for n in (1, 2, 3, 4)]
        steps = config.max_epoch * 600
        metrics = [Metric(key, value, 0, steps) for key, value in final.items() if key not in lacking]
        metrics += [Metric(f"{part}/accuracy", value, 0, epoch * 600) for epoch, value in curve]
        metrics += [Metric(f"{part}/loss", 1 - value, 0, epoch * 600) for epoch, value in curve]
        parameters = {**config.parameters(), "dataset_digest": digest}
        params = [Param(key, value) for key, value in parameters.items() if key not in without]
        client.log_batch(run_id, metrics=metrics, params=params)
        if right is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, ARTIFACT)
                wrong = np.logical_not(right).astype(np.uint8)
                np.savez(file, predicted=wrong, labels=np.zeros_like(wrong))
                client.log_artifact(run_id, str(file))
        if status != "RUNNING":
            client.set_terminated(run_id, status)
        return run_id

    def published(self, configs=(*NETWORKS, *SWEPT), *, seed=0, **changes):
        """Runs that have the published figures; a change is a function of configuration and figure."""
        for config in configs:
            known = published.find(config)
            figures = {"train_loss": 0.1, "test_loss": 0.1, "train_seconds": 100.0, **known.metrics}
            for name in ("train_loss", "test_loss"):
                figures[name] *= 10 if config.loss == "softmax_cross_entropy" else 1
            figures |= {name: change(config, figures[name]) for name, change in changes.items()}
            self.run(replace(config, seed=seed), **figures)

    def search(self, *, trials, best, study="weak", dataset="mnist"):
        """A finished search; `trials` are (state, configuration, accuracy)."""
        client = self.store.client
        for number, (state, config, accuracy) in enumerate(trials):
            tags = {"study": study, "trial": str(number), "trial_state": state.upper()}
            status = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED"}[state]
            lacking = () if state == "complete" else ("validation_accuracy",)
            self.run(replace(config, validation=True), tags=tags, status=status, lacking=lacking,
                     validation_accuracy=accuracy)  # fmt: skip
        space = '{"learning_rate": [0.003, 0.3], "max_epoch": [50, 400], "epoch_step": 10}'
        run = client.create_run(self.store.experiment_id, run_name="search", tags={"study": study, "space": space})
        params = [Param("best_trial", str(best)), Param("dataset", dataset)]
        value = trials[best][2]
        client.log_batch(run.info.run_id, metrics=[Metric("best_validation_accuracy", value, 0, 0)], params=params)
        client.set_terminated(run.info.run_id, "FINISHED")


class MadeRuns(Maker):
    """Finished runs that are in no store, in the place of `Runs`: thousands of them cost nothing."""

    def __init__(self):
        self.base = BASE
        self.digest = DIGEST
        self.other_data = False
        self.searches = []
        self.runs = {}
        self.curves = {}

    def run(self, config, *, curve=None, **figures):
        names = ("train_accuracy", "train_loss", "test_accuracy", "test_loss")
        final = {**dict.fromkeys(names, 0.9), "train_seconds": 60.0}
        measured = Measured(f"run-{len(self.curves)}", config, {**final, **figures})
        network = replace(config, seed=0, test_epoch=TrainingConfig.test_epoch)
        self.runs.setdefault(network, {})[config.seed] = measured
        last = measured.metrics["test_accuracy"]
        self.curves[measured.run_id] = curve or [(config.max_epoch * n // 4, last * n / 4) for n in (1, 2, 3, 4)]

    def of(self, config):
        found = self.runs.get(replace(config, seed=0, test_epoch=TrainingConfig.test_epoch), {})
        return [found[seed] for seed in sorted(found)]

    def curve(self, run, _metric):
        return self.curves[run.run_id]

    def correct(self, _run):
        return None

    def of_other_sizes(self):
        return [config for config in self.runs if config.hidden_sizes not in PUBLISHED_SIZES.values()]

    def initialisations(self):
        found = {config.init_std for config in self.runs} - {self.base.init_std}
        return sorted(found, key=str)


def answers(accuracy, seed, *, images=2000):
    """Which of some test images a network of this accuracy is right about: the easy ones, and by chance of its seed."""
    easy = np.linspace(0, 1, images)
    chance = np.random.default_rng(seed).normal(0, 0.01, images)
    return easy + chance < accuracy


@pytest.fixture
def make(store):
    return Maker(store)


@pytest.fixture
def made():
    return MadeRuns()
