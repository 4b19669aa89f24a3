"""How long the command line takes to answer."""

import subprocess
import sys
from contextlib import ExitStack
from time import perf_counter

from benchmarks.section import Figure, Section, at_most, spread


class CommandLine(Section):
    """`python -m pipeline --help`."""

    title = "Command line"

    def open(self, stack: ExitStack) -> None:  # noqa: ARG002 - nothing is left to be ended
        """Have it in the file cache."""
        self.seconds: list[float] = []
        self._ask()

    def measure(self) -> None:
        """Take the time of one call."""
        self.say("command line")
        self.seconds.append(self._ask())

    def _ask(self) -> float:
        started = perf_counter()
        subprocess.run([sys.executable, "-m", "pipeline", "--help"], check=True, capture_output=True)
        return perf_counter() - started

    def figures(self) -> list[Figure]:
        """The median."""
        return [at_most("`python -m pipeline --help`", sorted(self.seconds)[len(self.seconds) // 2], 0.5, ".2f", " s")]

    def markdown(self) -> str:
        """A sentence."""
        return f"`python -m pipeline --help` answers in {spread(self.seconds, '.2f')} s: median, least and most."
