"""kill -9 before and after every single write to the store: whatever is between two of them, nothing is lost."""

import os
import signal
import traceback

import pytest

from pipeline import commands
from pipeline.config import TrainingConfig
from pipeline.tracking.lease import Clock
from pipeline.tracking.store import Store
from pipeline.training.networks import Settings
from pipeline.training.trainer import _Training
from tests.conftest import copy_store
from tests.crash.grids import Grid

pytestmark = pytest.mark.long

CONFIG = TrainingConfig(dataset="digits", max_epoch=2, test_epoch=1, disp_freq=5, momentum=0.9)
READS = ("open", "search", "get")
AFTER_A_CHECKPOINT = "log_batch"  # elsewhere, nothing happens between one write and the next


@pytest.fixture
def attempt(tmp_path, data_dir, empty_store, monkeypatch):
    """A function that trains CONFIG in a folder and a process of its own; returns its exit code."""
    monkeypatch.setattr(Clock, "sleep", lambda _clock, _seconds: None)  # nobody else takes over at the same moment
    monkeypatch.setattr(
        _Training, "_decorate", lambda _self: None
    )  # many trainings: pictures would take most of the time

    def attempt(name, strike=lambda _when: None):
        grid = Grid(tmp_path / name, data_dir)
        if not (grid.folder / "mlflow.db").exists():
            copy_store(empty_store, grid.folder)
        settings = Settings(data_dir=data_dir, checkpoint_dir=grid.checkpoints, quiet=True)
        child = os.fork()  # from a process that has imported MLflow: to start anew takes seconds
        if child == 0:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", grid.uri)
            monkeypatch.setattr(Store, "patiently", reporting(Store.patiently, strike))
            leave_after(lambda: commands.train_one(CONFIG, settings, {}))
        return grid, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return attempt


def reporting(patiently, strike):
    def calling(store, method, *args, **kwargs):
        if method.startswith(READS):
            return patiently(store, method, *args, **kwargs)
        if method == AFTER_A_CHECKPOINT:
            strike("before")
        answer = patiently(store, method, *args, **kwargs)
        strike("after")
        return answer

    return calling


def leave_after(work):
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a forked process may not go on into pytest
        traceback.print_exc()
        os._exit(1)


class Strike:
    """Kills its own process before, or after, the write with this number."""

    def __init__(self, when, number):
        self.when = when
        self.number = number

    def __call__(self, when):
        if when == self.when:
            if self.number == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.number -= 1


@pytest.mark.parametrize(("when", "fewest"), [("before", 5), ("after", 18)])
def test_killed_at_any_write_a_training_ends_as_if_it_had_not_been(attempt, when, fewest):
    grid, code = attempt("uninterrupted")
    assert code == 0
    expected = grid.results()
    struck = 0
    while True:
        grid, code = attempt(f"killed-{struck}", Strike(when, struck))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        struck += 1
        if not grid.finished:  # with the last write the command is over: once more, and it would be another one
            assert attempt(f"killed-{struck - 1}")[1] == 0
        assert grid.results() == expected, f"killed {when} write {struck - 1}"
    assert struck >= fewest
