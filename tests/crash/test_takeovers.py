"""A command that was stopped, or has another clock, beside one on another machine: each point is there once.

The machines are processes with other host names and other clocks, so that neither knows whether the other's live.
"""

import json
import os
import signal

import pytest
from mlflow import MlflowClient

from tests.crash.grids import PATIENCE, REPOSITORY, grid_in, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SHORT = {"PIPELINE_TAKEOVER_SECONDS": "6"}
HOUR = 3600
TWO_NETWORKS = ("--activations", "relu,sigmoid", "--losses", "hinge", "--hidden-sizes", "128", "--workers", "1")
ONE_NETWORK = ("--activation", "sigmoid", "--loss", "hinge", "--hidden-sizes", "128")
SEARCH = (
    *("--space", "learning_rate=0.01..1 log, max_epoch=20..60 step 10", "--trials", "4", "--confirm", "0"),
    *("--workers", "1"),
)
SEARCHED = ("--dataset", "digits", "--init-std", "he", "--learning-rate", "0.1", "--max-epoch", "40",
            "--test-epoch", "2", "--disp-freq", "10")  # fmt: skip
LONG = ("--dataset", "digits", "--init-std", "he", "--learning-rate", "0.02", "--batch-size", "50",
        "--max-epoch", "1500", "--test-epoch", "20", "--disp-freq", "100")  # fmt: skip
LONGER = {"command": "train", "networks": ONE_NETWORK, "training": (*LONG, "--max-epoch", "4000")}
"""A training during which another command starts and watches for a renewal."""


def machine(name, ahead=0.0):
    """The environment of a process on a machine of its own."""
    path = os.pathsep.join([str(REPOSITORY / "tests" / "crash" / "elsewhere"), str(REPOSITORY)])
    return {"PYTHONPATH": path, "TEST_HOST": name, "TEST_CLOCK_AHEAD": str(ahead), **SHORT}


def signal_workers(command, number):
    for worker in command.workers():
        worker.send_signal(number)


def assert_gave_way(command):
    """It ended with a line that says that the run is another's."""
    assert command.end() == 1, command.output
    assert "Traceback" not in command.output
    assert "process writes nothing more to it" in command.output or "which writes nothing more to it" in command.output


def test_a_search_that_was_stopped_finds_its_trials_taken_over(new_grid):
    searches = {"command": "search", "networks": SEARCH, "training": SEARCHED}
    with new_grid("uninterrupted", **searches) as grid:
        grid.finish()
        uninterrupted = grid.points()
    assert len(uninterrupted) >= 4
    with new_grid("stopped", **searches) as grid:
        first = grid.start(**machine("first"))
        grid.wait_for_checkpoints(first)
        grid.stop(first.signal_all)
        second = grid.start(**machine("second"))
        second.say(": goes on after epoch")
        first.signal_all(signal.SIGCONT)
        assert_gave_way(first)
        assert second.end() == 0, second.output
        assert grid.points() == uninterrupted
        grid.assert_tidy()


def test_a_parent_that_was_stopped_finds_its_run_taken_over(new_grid):
    two = {"networks": TWO_NETWORKS, "training": LONG}
    with new_grid("uninterrupted", **two) as grid:
        grid.finish()
        uninterrupted = grid.results()
    with new_grid("parent", **two) as grid:
        first = grid.start(**machine("first"))
        grid.wait_for_checkpoints(first)
        grid.stop(first.process.send_signal)  # its worker trains on
        second = grid.start(**machine("second"))
        second.say(": begins")
        grid.stop(lambda number: signal_workers(second, number))  # the takeover comes before its end
        until(lambda: any("continued_by" in run.data.tags for run in grid.runs()), "a takeover")
        signal_workers(second, signal.SIGCONT)
        first.process.send_signal(signal.SIGCONT)
        assert_gave_way(first)
        if second.end() == 1:  # the worker of the first one still trained
            assert "is being trained by process" in second.output
            assert "Traceback" not in second.output
            grid.finish()
        assert grid.results() == uninterrupted
        grid.assert_tidy()


@pytest.fixture(scope="module")
def trained_alone(tmp_path_factory, data_dir):
    """What `LONGER` comes to where nothing happens to it."""
    with grid_in(tmp_path_factory.mktemp("alone"), data_dir, **LONGER) as grid:
        grid.finish()
        return grid.results()


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_another_clock_takes_no_run_from_the_living_and_every_run_from_the_dead(new_grid, trained_alone, ahead):
    with new_grid("clocks", **LONGER) as grid:
        first = grid.start(**machine("first"))
        grid.wait_for_checkpoints(first)
        second = grid.start(**machine("second", ahead))
        second.say("is being trained by process")
        first.kill()
        assert second.end() == 1, second.output
        third = grid.start(**machine("second", ahead))
        third.say("may be training it; waits up to 6 s for a sign of life")
        third.say(": goes on after epoch")
        assert third.end() == 0, third.output
        assert grid.results() == trained_alone
        grid.assert_tidy()


MALFORMED = ["no JSON", "[]", "null", "{}", '{"holder": "a"}', "[" * 4000]


def test_records_that_cannot_be_read_are_nobody_s(grid, uninterrupted):
    command = grid.start()
    grid.wait_for_checkpoints(command)
    command.kill()
    client = MlflowClient(grid.uri)
    [one] = [run for run in grid.runs() if "lease" in run.data.tags and "mlflow.parentRunId" not in run.data.tags]
    lease = json.loads(one.data.tags["lease"])
    malformed = [*MALFORMED, *(json.dumps(lease | wrong) for wrong in ({"pid": 10**30}, {"pid": "1"}, {"host": 7}))]
    left = [run for run in grid.runs() if run.info.status == "RUNNING"]
    assert len(left) >= 2  # the command's, and those of its networks
    for run, text in zip(left, malformed, strict=False):
        client.set_tag(run.info.run_id, "lease", text)
        client.set_tag(run.info.run_id, "heartbeat", "\N{SNOWMAN} x " * 9)
    others = [
        client.create_run(grid.experiment_id, tags={"fingerprint": "f", "lease": text}).info.run_id
        for text in malformed
    ]
    command = grid.start(PIPELINE_VERBOSE="true")
    assert command.end(2 * PATIENCE) == 0, command.output
    assert "a lease that cannot be read counts as none: 'no JSON'" in command.output
    assert "Traceback" not in command.output
    for run_id in others:
        tags = client.get_run(run_id).data.tags
        assert client.get_run(run_id).info.status == "KILLED"
        assert tags["reason"] == "its process died before the run ended"
        assert not {"lease", "heartbeat"} & tags.keys()
        client.delete_run(run_id)
    assert grid.results() == uninterrupted
