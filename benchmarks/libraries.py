"""This project beside other libraries on the same job: one network on one core, and nine on all cores."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks.contenders import CONTENDERS, OURS, dense_limit, present
from benchmarks.crews import Crew
from benchmarks.job import BATCH, HIDDEN, LEARNING_RATE, NINE, Data, flops
from benchmarks.parts import NINE_FIGURE
from benchmarks.processes import Process, cores
from benchmarks.section import Figure, Section, at_least, counted, spread
from pipeline.display.tables import markdown_table


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
                crew.start(self.settings.dataset, self.settings.data_dir)
            except Exception as error:  # noqa: BLE001 - whatever a library has: a compiler that is missing, memory
                self.left_out[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                self.crews = [each for each in self.crews if each.name != name]
                return
            self.crews.append(crew)

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
        for library, names, aim in (("PyTorch eager", ["torch"], 2.0), ("JAX", ["jax", "jax-vectorised"], 1.15)):
            theirs = self._best(names)
            if ours and theirs:
                text = NINE_FIGURE.format(library=library)
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
            "#### One network on one core\n\n"
            "ReLU, softmax cross-entropy; one thread, pinned to the same core. The dense limit is "
            f"{limit:.1f} GFLOP/s, the rate of a large float32 product on that core, measured before each; products "
            "are counted as if all inputs were dense. For nine networks vectorised, it is the ninth part.\n\n"
            f"{self._table_of_one()}\n\n"
            "#### Nine networks on all cores\n\n"
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
