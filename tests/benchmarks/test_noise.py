"""A benchmark says when the machine was too noisy to judge."""

from contextlib import ExitStack

import psutil
import pytest

from benchmarks import noise
from benchmarks.noise import Noise, judged, quartiles


def test_a_quiet_machine_is_judged():
    assert judged({0: [1.0, 1.02, 0.99, 1.01], 1: [1.0] * 4}, load=0.02) == ""


def test_a_job_that_takes_different_times_is_noise():
    assert judged({0: [1.0] * 4, 1: [1.0, 1.5, 1.0, 1.5]}, load=0.0) == (
        "too noisy to judge: a fixed NumPy job on core 1 took 1.00 to 1.50 s between its quartiles, 40% of its median "
        "(at most 10% is quiet). End what else runs on this machine and measure again."
    )


def test_the_load_of_others_is_noise():
    assert judged({0: [1.0]}, load=0.31, busiest="browser") == (
        "too noisy to judge: other processes used 31% of the cores' time (at most 5% is quiet), most of it browser. "
        "End what else runs on this machine and measure again."
    )


def test_quartiles():
    assert quartiles([1.0]) == (1.0, 1.0, 1.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


@pytest.fixture
def counted(monkeypatch):
    """A clock of ten seconds, and what the cores and this benchmark did in them."""
    count = {"time": 0.0, "busy": 0.0, "own": 0.0}
    monkeypatch.setattr(noise, "cores", lambda: [0])
    monkeypatch.setattr(noise.time, "monotonic", lambda: count["time"])
    monkeypatch.setattr(noise, "_busy", lambda: count["busy"])
    monkeypatch.setattr(noise, "_own", lambda: count["own"])
    monkeypatch.setattr(noise, "fixed_job", lambda: 0.5)
    return count


class Here:
    """Calls functions in this process."""

    def __init__(self, on):
        self.on = on

    def submit(self, function, *args):
        result = function(*args)
        return type("Done", (), {"result": lambda _self: result})()

    def close(self):
        pass


def test_what_the_cores_did_beside_this_benchmark_is_the_load(counted, monkeypatch):
    monkeypatch.setattr(noise, "Process", Here)
    with ExitStack() as stack:
        found = Noise(stack)
        for _ in range(3):
            found.look()
        counted |= {"time": 10.0, "busy": 8.0, "own": 7.8}
        assert found.load() == pytest.approx(0.02)
        assert found.verdict() == ""
        counted["own"] = 5.0
        assert found.load() == pytest.approx(0.3)
        assert found.verdict().startswith("too noisy to judge: other processes used 30% of the cores' time")


def test_this_process_and_those_below_it_are_not_the_others():
    others = {number for (number, _), _ in noise._others()}
    assert psutil.Process().pid not in others
    assert others
