"""Whether other work disturbed a benchmark: a fixed NumPy job is timed between the measurements, on every core."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from statistics import quantiles
from typing import Final

import psutil

from benchmarks.contenders import DenseLimit
from benchmarks.processes import Process, cores, together

EXIT_STATUS: Final = 3
"""Of a benchmark that cannot be judged."""
SPREAD_LIMIT: Final = 0.10
"""Between the quartiles of the fixed job's seconds, as a share of their median."""
LOAD_LIMIT: Final = 0.05
"""Of the cores' time that other processes may use."""
_PRODUCTS: Final = 5
_MEASURES: Final = ("user", "nice", "system", "irq", "softirq", "steal")


def fixed_job() -> float:
    """The seconds of a few large products, which are the same at any time and on any machine."""
    dense = DenseLimit()
    dense.flops(1)
    return 2 * _PRODUCTS * dense.SIZE**3 / dense.flops(_PRODUCTS)


class Noise:
    """The seconds of the fixed job on each core, and the time that other processes had of the cores."""

    def __init__(self, stack: ExitStack) -> None:
        """Start a process on each core, which `stack` ends, and begin to count."""
        self.seconds: dict[int, list[float]] = {core: [] for core in cores()}
        self._processes = [Process([core]) for core in self.seconds]
        for process in self._processes:
            stack.callback(process.close)
        self._began, self._busy, self._own = time.monotonic(), _busy(), _own()
        self._others = dict(_others())

    def look(self) -> None:
        """Time the fixed job on all cores at once."""
        calls = [(process, fixed_job, ()) for process in self._processes]
        for samples, seconds in zip(self.seconds.values(), together(calls), strict=True):
            samples.append(seconds)

    def load(self) -> float:
        """The share of the cores' time that other processes, or other machines on this hardware, have had so far."""
        others = (_busy() - self._busy) - (_own() - self._own)
        return max(others, 0) / (len(self.seconds) * (time.monotonic() - self._began))

    def verdict(self) -> str:
        """Why the machine was too noisy to judge, and what to do; empty if it was quiet."""
        return judged(self.seconds, self.load(), self._busiest())

    def _busiest(self) -> str:
        """The other process that used most time."""
        used = {key: seconds - self._others.get(key, 0) for key, seconds in _others()}
        return max(used, key=lambda key: used[key])[1] if used else ""


def judged(seconds: dict[int, list[float]], load: float, busiest: str = "") -> str:
    """Judge the noise.

    Args:
        seconds: of the fixed job, on each core.
        load: the share of the cores' time that others had.
        busiest: the name of the process that had most of it.

    Returns:
        A sentence that begins with "too noisy to judge", or nothing.
    """
    found = []
    for core, samples in seconds.items():
        low, middle, high = quartiles(samples)
        if high - low > SPREAD_LIMIT * middle:
            found.append(
                f"a fixed NumPy job on core {core} took {low:.2f} to {high:.2f} s between its quartiles, "
                f"{(high - low) / middle:.0%} of its median (at most {SPREAD_LIMIT:.0%} is quiet)"
            )
    if load > LOAD_LIMIT:
        most = f", most of it {busiest}" if busiest else ""
        found.append(f"other processes used {load:.0%} of the cores' time (at most {LOAD_LIMIT:.0%} is quiet){most}")
    return f"too noisy to judge: {'; '.join(found)}. End what else runs on this machine and measure again." * bool(
        found
    )


def quartiles(samples: list[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    low, middle, high = quantiles(samples, n=4, method="inclusive")
    return low, middle, high


def _busy() -> float:
    """The seconds for which this process's cores have worked since the machine started."""
    each_core = psutil.cpu_times(percpu=True)
    mine = [each_core[core] for core in cores() if core < len(each_core)]
    return sum(getattr(times, name, 0.0) for times in mine for name in _MEASURES)


def _family() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def _own() -> float:
    """The seconds of processor time that this process and all below it have had, those that have ended included."""
    total = 0.0
    for process in _family():
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _others() -> Iterator[tuple[tuple[int, str], float]]:
    """Processor time of every other process, by its number and name."""
    family = {process.pid for process in _family()}
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.pid not in family and process.info["cpu_times"]:
            times = process.info["cpu_times"]
            yield (process.pid, str(process.info["name"])), times.user + times.system
