"""A contender at work: its processes, and what was measured in them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Final, NamedTuple

from benchmarks.contenders import CONTENDERS, Measured, begin, measure, warm_up
from benchmarks.job import NINE, ONE, Kind, shares
from benchmarks.processes import Process, together

_LONGEST_FIRST: Final = NINE[::-1]  # GELU takes longer than the others: begun last, it would keep a core waiting


class Alone(NamedTuple):
    """One network on one core.

    Attributes:
        seconds: an epoch and network.
        accuracy: on the test set.
        share: of the dense limit, measured just before.
    """

    seconds: float
    accuracy: float
    share: float


class Nine(NamedTuple):
    """Nine networks on all cores.

    Attributes:
        seconds: an epoch of all, until the last core is done.
        busy: the same if the work were dealt out evenly, no core ever idle.
        accuracies: on the test set, one a network.
    """

    seconds: float
    busy: float
    accuracies: dict[Kind, float]


@dataclass
class Crew:
    """A contender in one setting: processes with its library, its data and all that it compiles.

    Attributes:
        name: of the contender.
        processes: one for each core, or a single one.
        threads: of each process.
        samples: a measurement of nine networks for each round.
        alone: a measurement of one network on one core for each round, in the first of single-threaded processes.
    """

    name: str
    processes: list[Process]
    threads: int
    samples: list[Nine] = field(default_factory=list)
    alone: list[Alone] = field(default_factory=list)

    @property
    def setting(self) -> str:
        """In the tables."""
        count = len(self.processes)
        processes = "1 process" if count == 1 else f"{count} processes"
        return f"{processes}, {self.threads} {'thread' if self.threads == 1 else 'threads'}{' each' * (count > 1)}"

    @property
    def seconds(self) -> float:
        """An epoch of nine networks."""
        return median(each.seconds for each in self.samples)

    @property
    def busy(self) -> float:
        """The same, no core ever idle."""
        return median(each.busy for each in self.samples)

    def parts(self) -> list[list[Kind]]:
        """The nine networks as they are given to the processes: all to each if they are taken one by one."""
        if CONTENDERS[self.name].together:
            return shares(NINE, len(self.processes))
        return [list(NINE)] * len(self.processes)

    def train_one(self, epochs: int, limit: float, flops_an_epoch: float) -> None:
        """Take the time of one network, or a ninth of that of nine which are trained together."""
        kinds = NINE if CONTENDERS[self.name].together else [ONE]
        measured = self.processes[0].run(measure, kinds, epochs)
        seconds = measured.seconds / epochs / len(kinds)
        self.alone.append(
            Alone(seconds, measured.accuracies[kinds.index(ONE)], flops_an_epoch / seconds / limit),
        )

    def train_nine(self, epochs: int) -> None:
        """Take the time of nine networks."""
        trained = self._together(epochs) if CONTENDERS[self.name].together else self._queued(epochs)
        seconds = [sum(each.seconds for _, each in of_process) / epochs for of_process in trained]
        accuracies = {
            kind: accuracy
            for of_process in trained
            for kinds, each in of_process
            for kind, accuracy in zip(kinds, each.accuracies, strict=True)
        }
        self.samples.append(Nine(max(seconds), mean(seconds), accuracies))

    def _together(self, epochs: int) -> list[list[tuple[list[Kind], Measured]]]:
        parts = self.parts()
        calls = [(process, measure, (part, epochs)) for process, part in zip(self.processes, parts, strict=False)]
        return [[(part, measured)] for part, measured in zip(parts, together(calls), strict=True)]

    def _queued(self, epochs: int) -> list[list[tuple[list[Kind], Measured]]]:
        """Each process takes the next network when it is done with one."""
        waiting = iter(_LONGEST_FIRST)

        def drain(process: Process) -> list[tuple[list[Kind], Measured]]:
            return [([kind], process.run(measure, [kind], epochs)) for kind in waiting]

        with ThreadPoolExecutor(len(self.processes)) as threads:
            return list(threads.map(drain, self.processes))

    def start(self, dataset: str, data_dir: Path, *, alone: bool = True) -> None:
        """Have every process import the library, load the data and compile; none of it is measured.

        Args:
            dataset: to train on.
            data_dir: where it is prepared.
            alone: whether `train_one` will be called, for which a contender that trains nine together compiles more.
        """
        entry = CONTENDERS[self.name]
        kinds = self.parts() if entry.nine else [[ONE]]
        place = (self.name, dataset, data_dir, self.threads)
        together([(process, begin, (*place, part)) for process, part in zip(self.processes, kinds, strict=False)])
        if alone and entry.together and self.threads == 1:
            self.processes[0].run(warm_up, NINE)
