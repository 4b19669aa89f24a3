"""A section of the report: it measures once in every round, beside the others, and tells the medians in the end."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long.

    Attributes:
        dataset: name of a prepared data set.
        data_dir: folder of prepared data sets.
        folder: for stores, checkpoints and logs; empty, and removed in the end.
        contenders: names of those that take part.
        epochs: of each training that libraries are compared by.
        whole_epochs: of each training with evaluation and tracking.
        grid_epochs: of each network of the grids that show scaling.
        rounds: how often everything is measured.
    """

    dataset: str
    data_dir: Path
    folder: Path
    contenders: tuple[str, ...]
    epochs: int
    whole_epochs: int
    grid_epochs: int
    rounds: int


class Figure(NamedTuple):
    """A line of the summary.

    Attributes:
        text: what it is.
        value: as measured.
        aim: what was asked for.
        reached: whether it is what was asked for.
    """

    text: str
    value: str
    aim: str
    reached: bool


class Section(ABC):
    """Part of the benchmark.

    Attributes:
        title: of the section.
        every: it measures in one of so many rounds, the first among them.
    """

    title: str
    every = 1

    def __init__(self, settings: Settings, say: Say) -> None:
        """Keep the settings.

        Args:
            settings: what to measure.
            say: tells the user what is under way.
        """
        self.settings = settings
        self.say = say

    @abstractmethod
    def open(self, stack: ExitStack) -> None:
        """Start what is needed; `stack` ends it."""

    @abstractmethod
    def measure(self) -> None:
        """Measure everything once."""

    @abstractmethod
    def figures(self) -> list[Figure]:
        """What this section has for the summary."""

    @abstractmethod
    def markdown(self) -> str:
        """The text below the title."""


def at_least(text: str, value: float, aim: float, form: str) -> Figure:
    """A figure that should be large."""
    return Figure(text, format(value, form), f"at least {aim:{form}}", value >= aim)


def at_most(text: str, value: float, aim: float, form: str, unit: str = "") -> Figure:
    """A figure that should be small."""
    return Figure(text, f"{value:{form}}{unit}", f"at most {aim:{form}}{unit}", value <= aim)


def spread(values: Sequence[float], form: str) -> str:
    """Median, least and most."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def counted(number: int, noun: str) -> str:
    """As in "1 epoch" and "2 epochs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
