"""The main ratios in minutes: this project and the libraries in short measurements, paired round by round."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Final, NamedTuple

from benchmarks.contenders import CONTENDERS, OURS, dense_limit, measure, present
from benchmarks.crews import Crew
from benchmarks.job import Data, Kind, flops
from benchmarks.noise import Noise, quartiles
from benchmarks.processes import Process, cores
from benchmarks.section import Settings

TAKE_PART: Final = (OURS, "jax", "jax-vectorised", "torch")
"""The contenders that the main ratios are about."""
_LEAST_ROUNDS: Final = 5
_RELU: Final = Kind("relu", "softmax_cross_entropy")
_GELU: Final = Kind("gelu", "softmax_cross_entropy")
_ALONE: Final = (Kind("relu", "euclidean"), _RELU, Kind("sigmoid", "hinge"), _GELU)
_LABELS: Final = {"jax": "JAX", "torch": "PyTorch eager"}


class Ratio(NamedTuple):
    """One main ratio.

    Attributes:
        text: what is divided by what.
        samples: one of each round, of measurements made one after the other.
        aim: what was asked for, if anything was.
        larger: whether more than the aim is better.
    """

    text: str
    samples: Sequence[float]
    aim: float | None = None
    larger: bool = True

    def row(self) -> list[str]:
        """The row of the table; an aim between the quartiles is neither reached nor missed."""
        low, middle, high = quartiles(list(self.samples))
        row = [self.text, f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
        if self.aim is None:
            return [*row, "", ""]
        reached = low >= self.aim if self.larger else high <= self.aim
        missed = high < self.aim if self.larger else low > self.aim
        aim = f"at {'least' if self.larger else 'most'} {self.aim:.2f}"
        return [*row, aim, "yes" if reached else "no" if missed else "open"]


class Quick:
    """Some contenders, each with single-threaded processes, and what they did in each round.

    Attributes:
        alone: seconds of one network on one core, by contender and network.
        nine: seconds of nine networks on all cores, by contender.
        shares: of the dense limit that this project reached, by network.
        left_out: why a contender takes no part.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        """Measure nothing yet."""
        self.settings = settings
        self.alone: dict[tuple[str, Kind], list[float]] = {}
        self.nine: dict[str, list[float]] = {}
        self.shares: dict[Kind, list[float]] = {_RELU: [], _GELU: []}
        self.left_out: dict[str, str] = {}
        self._say = say
        self._crews: list[Crew] = []

    def open(self, stack: ExitStack) -> None:
        """Start the processes of all that take part, and the count of the noise, which `stack` ends."""
        data = Data.open(self.settings.dataset, self.settings.data_dir)
        self._flops = flops(data.order(0).size, data.sizes)
        self._limit = Process(cores()[:1])
        stack.callback(self._limit.close)
        for name in [name for name in TAKE_PART if name in {OURS, *self.settings.contenders}]:
            if name not in present():
                self.left_out[name] = "it is not installed; pip install -e '.[bench]'"
                continue
            crew = Crew(name, [Process([core]) for core in cores()], 1)
            for process in crew.processes:
                stack.callback(process.close)
            self._say(f"starting {CONTENDERS[name].label}, {crew.setting}")
            try:
                crew.start(self.settings.dataset, self.settings.data_dir, alone=False)
            except Exception as error:  # noqa: BLE001 - whatever a library has: a compiler that is missing, memory
                self.left_out[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            self._crews.append(crew)
        self.noise = Noise(stack)

    def measure(self, until: float) -> int:
        """Measure round after round; gives their number.

        Args:
            until: by `time.monotonic`, when the last round should be over; some rounds are measured in any case.
        """
        number, longest = 0, 0.0
        while number < _LEAST_ROUNDS or time.monotonic() + longest < until:
            self._say(f"round {number + 1}")
            began = time.monotonic()
            self._round(self._crews[number % len(self._crews) :] + self._crews[: number % len(self._crews)])
            longest, number = max(longest, time.monotonic() - began), number + 1
        return number

    def _round(self, crews: Sequence[Crew]) -> None:
        """Every contender once, each network's turns one after the other; who is first changes with the round."""
        epochs = self.settings.epochs
        self.noise.look()
        for kind in _ALONE:
            limit = self._limit.run(dense_limit) if kind in self.shares else 0.0
            for crew in crews:
                if CONTENDERS[crew.name].together:
                    continue
                seconds = crew.processes[0].run(measure, [kind], epochs).seconds
                self.alone.setdefault((crew.name, kind), []).append(seconds)
                if crew.name == OURS and limit:
                    self.shares[kind].append(self._flops * epochs / seconds / limit)
        self.noise.look()
        for crew in crews:
            crew.train_nine(epochs)
            self.nine.setdefault(crew.name, []).append(crew.samples[-1].seconds)
        self.noise.look()

    def ratios(self) -> Iterator[Ratio]:
        """All that could be measured."""
        for kind in _ALONE:
            for name, label in _LABELS.items():
                if (name, kind) in self.alone:
                    text = f"one core, {kind.activation} {kind.loss}: time of {label} / ours"
                    yield Ratio(text, _paired(self.alone[name, kind], self.alone[OURS, kind]))
        yield Ratio("one core: GELU's time / ReLU's", _paired(*(self.alone[OURS, k] for k in (_GELU, _RELU))), 1.15,
                    larger=False)  # fmt: skip
        for kind, samples in self.shares.items():
            yield Ratio(f"one core, {kind.activation} {kind.loss}: share of the dense limit", samples)
        on = f"nine networks on {len(cores())} core{'s' if len(cores()) > 1 else ''}"
        best = min((name for name in ("jax", "jax-vectorised") if name in self.nine), default=None,
                   key=lambda name: median(self.nine[name]))  # fmt: skip
        if best:
            text = f"{on}: time of JAX at its best ({'vectorised' if best != 'jax' else 'scan'}) / ours"
            yield Ratio(text, _paired(self.nine[best], self.nine[OURS]), 1.15)
        if "torch" in self.nine:
            yield Ratio(f"{on}: time of PyTorch eager / ours", _paired(self.nine["torch"], self.nine[OURS]), 2.0)


def _paired(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    return [each / our for each, our in zip(theirs, ours, strict=True)]


def text(quick: Quick, rounds: int, minutes: float, verdict: str) -> str:
    """The table of the ratios, with what they hold for; instead of it, why the machine was too noisy."""
    from benchmarks.kinds import kind
    from benchmarks.machine import processor
    from pipeline.display.tables import text_table

    about = (
        f"{kind()} ({processor()}), {len(cores())} of its cores: {rounds} rounds, {minutes:.1f} minutes, "
        f"{quick.settings.dataset}."
    )
    lines = [about, *(f"{CONTENDERS[name].label} is left out: {why}" for name, why in quick.left_out.items())]
    if verdict:
        return "\n".join([*lines, verdict])
    rows = [ratio.row() for ratio in quick.ratios()]
    return "\n".join([*lines, "", text_table(rows, ["ratio", "median", "quartiles", "aim", "reached"])])
