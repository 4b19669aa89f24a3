"""This project beside other libraries on the same job: one network on one core, and nine on all cores."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Final, NamedTuple

from benchmarks.contenders import CONTENDERS, OURS, Measured, begin, dense_limit, measure, present, warm_up
from benchmarks.job import BATCH, HIDDEN, LEARNING_RATE, NINE, ONE, Data, Kind, flops, shares
from benchmarks.processes import Process, cores, together
from benchmarks.section import Figure, Section, at_least, counted, spread
from pipeline.display.tables import markdown_table

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


class Libraries(Section):
    """All contenders, in turn."""

    title = "Beside other libraries"

    def open(self, stack: ExitStack) -> None:
        """Start the processes of all contenders; what cannot be started is left out."""
        data = Data.open(self.settings.dataset, self.settings.data_dir)
        self.flops = flops(data.order(0).size, data.sizes)
        self.crews: list[Crew] = []
        self.limits: list[float] = []
        self.left_out = {name: "not installed" for name in self.settings.contenders if name not in present()}
        self.limit = Process(cores()[:1])
        stack.callback(self.limit.close)
        for name in self.settings.contenders:
            if name not in self.left_out:
                self._hire(name, stack)

    def _hire(self, name: str, stack: ExitStack) -> None:
        entry = CONTENDERS[name]
        single = [[core] for core in cores()[: len(NINE) if entry.nine else 1]]
        placed = [single, [cores()]] if entry.wide and len(cores()) > 1 else [single]
        for places in placed:
            crew = Crew(name, [Process(place) for place in places], len(places[0]))
            for process in crew.processes:
                stack.callback(process.close)
            self.say(f"starting {entry.label}, {crew.setting}")
            try:
                self._begin(crew)
            except Exception as error:  # noqa: BLE001 - whatever a library has: a compiler that is missing, memory
                self.left_out[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                self.crews = [each for each in self.crews if each.name != name]
                return
            self.crews.append(crew)

    def _begin(self, crew: Crew) -> None:
        settings, entry = self.settings, CONTENDERS[crew.name]
        kinds = crew.parts() if entry.nine else [[ONE]]
        place = (crew.name, settings.dataset, settings.data_dir, crew.threads)
        together([(process, begin, (*place, part)) for process, part in zip(crew.processes, kinds, strict=False)])
        if entry.together and crew.threads == 1:
            crew.processes[0].run(warm_up, NINE)

    def measure(self) -> None:
        """Every contender with one network, then with nine."""
        epochs = self.settings.epochs
        for crew in self._on_one_core():
            self.say(f"one network: {CONTENDERS[crew.name].label}")
            self.limits.append(self.limit.run(dense_limit))
            crew.train_one(epochs, self.limits[-1], self.flops)
        for crew in self._with_nine():
            self.say(f"nine networks: {CONTENDERS[crew.name].label}, {crew.setting}")
            crew.train_nine(epochs)

    def _on_one_core(self) -> list[Crew]:
        return [crew for crew in self.crews if crew.threads == 1]

    def _with_nine(self) -> list[Crew]:
        return [crew for crew in self.crews if CONTENDERS[crew.name].nine]

    def _best(self, names: Sequence[str], figure: Callable[[Crew], float] = lambda crew: crew.seconds) -> Crew | None:
        return min((crew for crew in self._with_nine() if crew.name in names), key=figure, default=None)

    def figures(self) -> list[Figure]:
        """How much faster this project trains nine networks, each library at its best."""
        ours, found = self._best([OURS]), []
        for library, names, aim in (("PyTorch eager", ["torch"], 1.9), ("JAX", ["jax", "jax-vectorised"], 1.1)):
            theirs = self._best(names)
            if ours and theirs:
                text = f"nine networks on all cores: time of {library} at its best, divided by ours"
                found.append(at_least(text, theirs.seconds / ours.seconds, aim, ".2f"))
        return found

    def markdown(self) -> str:
        """Both tables."""
        limit = median(self.limits) / 1e9
        left_out = "".join(f"\n\n{CONTENDERS[name].label} is left out: {why}." for name, why in self.left_out.items())
        return (
            f"The job: the published one-layer network ({HIDDEN} hidden units) on {self.settings.dataset}, "
            f"{counted(self.settings.epochs, 'epoch')} of plain SGD, {BATCH} images a batch, learning rate "
            f"{LEARNING_RATE}, all libraries from the same weights, in float32. Data is in memory and everything "
            "compiled before the clock starts; no evaluation, no tracking. DataLoader and scikit-learn draw the order "
            f"of images themselves. Medians of {counted(self.settings.rounds, 'round')}, with least and most."
            f"{left_out}\n\n"
            "### One network on one core\n\n"
            "ReLU, softmax cross-entropy; one thread, pinned to the same core. The dense limit is "
            f"{limit:.1f} GFLOP/s, the rate of a large float32 product on that core, measured before each; products "
            "are counted as if all inputs were dense. For nine networks vectorised, it is the ninth part.\n\n"
            f"{self._table_of_one()}\n\n"
            "### Nine networks on all cores\n\n"
            "ReLU, Sigmoid and GELU with Euclidean, softmax cross-entropy and hinge loss. With several processes, each "
            "takes the next network when it is done with one; vectorised networks are dealt out. The best setting of "
            "each library is bold. Nine networks do not divide evenly: *evenly dealt* is the time that would remain "
            "if no core ever waited for another, as in a larger grid. The last column is the largest difference in "
            "test accuracy of any of the nine networks from ours.\n\n"
            f"{self._table_of_nine()}"
        )

    def _table_of_one(self) -> str:
        crews = sorted(self._on_one_core(), key=lambda crew: median(each.seconds for each in crew.alone))
        ours = next((median(each.seconds for each in crew.alone) for crew in crews if crew.name == OURS), None)
        rows = []
        for crew in crews:
            seconds = [each.seconds for each in crew.alone]
            share = median(each.share for each in crew.alone)
            accuracy = median(each.accuracy for each in crew.alone)
            label = CONTENDERS[crew.name].label
            rows.append(
                [label, spread(seconds, ".3f"), _factor(median(seconds), ours), f"{share:.0%}", f"{accuracy:.2%}"]
            )
        headers = ["library", "seconds an epoch", "times ours", "of the dense limit", "test accuracy"]
        return markdown_table(rows, headers)

    def _table_of_nine(self) -> str:
        ours = self._best([OURS])
        even = self._best([OURS], lambda crew: crew.busy)
        best = [self._best([name]) for name in CONTENDERS]
        rows = []
        for crew in sorted(self._with_nine(), key=lambda crew: crew.seconds):
            label = CONTENDERS[crew.name].label
            rows.append(
                [
                    f"**{label}**" if crew in best else label,
                    crew.setting,
                    spread([each.seconds for each in crew.samples], ".2f"),
                    _factor(crew.seconds, ours.seconds if ours else None),
                    f"{crew.busy:.2f}",
                    _factor(crew.busy, even.busy if even else None),
                    f"{_difference(crew, ours):.2%}" if ours else "-",
                ]
            )
        headers = ["library", "setting", "seconds an epoch of nine", "times ours"]
        return markdown_table(rows, [*headers, "evenly dealt", "times ours", "accuracy differs by"])


def _factor(seconds: float, ours: float | None) -> str:
    return f"{seconds / ours:.2f}" if ours else "-"


def _difference(crew: Crew, ours: Crew) -> float:
    known = ours.samples[-1].accuracies
    return max(abs(accuracy - known[kind]) for kind, accuracy in crew.samples[-1].accuracies.items())
