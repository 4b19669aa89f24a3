"""Two machines on one store, of which one is stopped in the middle and goes on when the other has taken over.

The machines are namespaces of this one, with a host name and process ids of their own, so that neither knows what
lives on the other. For the true times: `--on mnist`.
"""

import signal
import subprocess
import time

import pytest

from tests.crash.grids import TRAININGS, until

pytestmark = pytest.mark.long

SIX_NETWORKS = (
    *("--activations", "relu,sigmoid,gelu", "--losses", "hinge,softmax_cross_entropy", "--hidden-sizes", "128"),
    *("--workers", "2"),
)
SHORT = {"PIPELINE_TAKEOVER_SECONDS": "6"}
TRAINING = TRAININGS | {"digits": (*TRAININGS["digits"], "--max-epoch", "600")}
"""On digits, too, the stop comes before the end of a network that has a checkpoint."""
STOPPED_SECONDS = 180.0
PATIENCE = 1500.0


def machine(name):
    """What a command line begins with to run on a machine of its own."""
    return ("unshare", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c", f'hostname {name} && exec "$@"', "sh")


@pytest.fixture(autouse=True)
def namespaces():
    if subprocess.run([*machine("tried"), "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces can be made here")


@pytest.mark.timeout(3000)
def test_a_machine_that_was_stopped_finds_its_networks_taken_over_and_writes_nothing_more(new_grid, on):
    times = {} if on == "mnist" else SHORT
    with new_grid("uninterrupted", networks=SIX_NETWORKS, training=TRAINING[on]) as grid:
        command = grid.start()
        assert command.end(PATIENCE) == 0, command.output
        uninterrupted = grid.results()
    with new_grid("two-machines", networks=SIX_NETWORKS, training=TRAINING[on]) as grid:
        first = grid.start(machine("first"), **times)
        until(lambda: first.ended or len(grid.checkpointed()) == 2, "checkpoints of two networks", PATIENCE)
        assert not first.ended, first.output
        grid.stop(first.signal_all)
        stopped = time.monotonic()

        second = grid.start(machine("second"), **times)
        second.say(": goes on after epoch", 2, patience=PATIENCE)
        if on == "mnist":
            until(lambda: time.monotonic() - stopped >= STOPPED_SECONDS, "three minutes", PATIENCE)
        first.signal_all(signal.SIGCONT)

        assert first.end(PATIENCE) == 1, first.output
        assert "Traceback" not in first.output
        assert "process writes nothing more to it" in first.output or "which writes nothing more to it" in first.output
        assert second.end(PATIENCE) == 0, second.output
        assert grid.results() == uninterrupted
        assert len(uninterrupted) == 6
        [left] = [run for run in grid.runs() if "continued_by" in run.data.tags]
        assert left.info.status == "KILLED"
        grid.assert_tidy()
