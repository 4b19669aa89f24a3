import platform
import subprocess
import threading

import numpy as np
import pytest

from pipeline.config import TrainingConfig
from pipeline.data.datasets import load
from pipeline.training import provenance
from pipeline.training.task import EventKind, Status, Task
from pipeline.training.trainer import build, train
from tests.conftest import REPOSITORY

CONFIG = TrainingConfig(dataset="digits", loss="hinge", learning_rate=0.1, init_std="he", max_epoch=4, test_epoch=1)
OPTIONS = ("--dataset", "digits", "--loss", "hinge", "--learning-rate", "0.1", "--init-std", "he",
           "--max-epoch", "4", "--test-epoch", "1", "--checkpoint-dir", "checkpoints")  # fmt: skip


@pytest.fixture
def task(store, data_dir, tmp_path):
    fingerprint = CONFIG.fingerprint(load("digits", data_dir).digest)
    return Task(CONFIG, fingerprint, store, None, data_dir, tmp_path / "checkpoints")


@pytest.fixture
def interrupted(task):
    """The run of a training that was stopped after its second epoch, whose checkpoint is there."""
    stop = threading.Event()

    def report(event):
        if event.kind is EventKind.EVALUATED and event.epoch == 2:
            stop.set()

    outcome = train(task, report=report, stop=stop)
    assert outcome.status is Status.KILLED
    return outcome.run_id


def test_a_run_says_what_it_was_computed_with(task, store):
    outcome = train(task, report=[].append, stop=threading.Event())
    tags = store.get(outcome.run_id).tags
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert tags["mlflow.source.git.commit"] == head.stdout.strip()
    assert tags["mlflow.source.git.dirty"] in {"true", "false"}
    assert tags["numpy"] == np.__version__
    assert set(np.show_config("dicts")["SIMD Extensions"]["found"]) <= set(tags["processor"].split())
    assert float(tags["core_seconds"]) > 0
    assert "bit_exact" not in tags


def test_a_network_is_built_for_the_kernels_of_this_processor(data_dir, monkeypatch):
    kernels = []
    monkeypatch.setattr("model.ink.block_size", lambda name: kernels.append(name) or 10**6)
    build(CONFIG, load("digits", data_dir))
    assert kernels == [provenance.kernels()]
    assert provenance.arithmetic()["processor"].startswith(provenance.kernels())


def test_going_on_with_the_same_processor_is_exact(interrupted, task, store):
    events = []
    outcome = train(task, report=events.append, stop=threading.Event())
    assert outcome.run_id == interrupted
    assert not [event for event in events if event.kind is EventKind.NOTICE]
    assert "bit_exact" not in store.get(interrupted).tags


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of other processors have other names")
def test_going_on_with_another_processor_is_noticed_and_tagged(interrupted, store, pipeline):
    theirs = provenance.arithmetic()["processor"].split()[0]
    other = "Nehalem" if theirs != "Nehalem" else "Prescott"
    done = pipeline("train", *OPTIONS, OPENBLAS_CORETYPE=other)
    assert done.returncode == 0, done.stderr
    assert f"the checkpoint was written with processor '{theirs} " in " ".join((done.stdout + done.stderr).split())
    run = store.get(interrupted)
    assert run.status == "FINISHED"
    assert run.tags["bit_exact"] == "false"
    assert run.tags["processor"].split()[0] != theirs


def test_what_recorded_nothing_is_not_said_to_differ():
    assert provenance.difference({}) == ""
    assert provenance.difference(provenance.arithmetic()) == ""
    text = provenance.difference({**provenance.arithmetic(), "numpy": "1.0"})
    assert text == (
        f"the checkpoint was written with numpy '1.0', here it is '{np.__version__}': "
        "the result will not be exact to the bit"
    )
