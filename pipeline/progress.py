"""What a person sees while networks are trained: a live line for each on a terminal, plain lines elsewhere."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.training import Event, Report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


@contextmanager
def progress(title: str, costs: Mapping[str, int], *, quiet: bool) -> Iterator[Report]:
    """Show the trainings of networks inside the `with`; yields what is to be told of their events.

    Args:
        title: of the whole.
        costs: the networks by name, each with its share of the whole work.
        quiet: show nothing.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if quiet:
        yield lambda _event: None
    elif console.is_terminal:
        with _bars(console) as bars:
            yield _Terminal(bars, title, costs).show
    else:
        yield _Lines(console, len(costs)).show


def _bars(console: "Console") -> "Progress":
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
        console=console,
    )


class _Terminal:
    """One bar for each network that is being trained and one for the whole."""

    def __init__(self, bars: "Progress", title: str, costs: Mapping[str, int]) -> None:
        self._bars = bars
        self._costs = costs
        self._lines: dict[str, TaskID] = {}
        self._reached: dict[str, float] = {}
        self._figures: dict[str, str] = {}
        self._whole = bars.add_task(title, total=sum(costs.values()) or 1, figures=f"0/{len(costs)} networks")
        self._ended = 0

    def show(self, event: Event) -> None:
        if event.kind == "notice":
            self._bars.console.print(f"{event.name}: {event.text}")
            return
        line = self._lines.get(event.name)
        if line is None:
            line = self._lines[event.name] = self._bars.add_task(event.name, total=event.max_epoch, figures="")
        if event.accuracy is not None and event.loss is not None:
            self._figures[event.name] = f"accuracy {event.accuracy:.2%}  loss {event.loss:.4f}"
        speed = f"{event.seconds / event.epoch:.2f} s/epoch" if event.epoch and event.seconds else ""
        figures = f"epoch {event.epoch}/{event.max_epoch}  {self._figures.get(event.name, '')}  {speed}"
        self._bars.update(line, completed=event.epoch, figures=figures)
        self._reached[event.name] = event.epoch / event.max_epoch
        if event.kind == "ended":
            self._end(event)
        done = sum(self._costs.get(name, 0) * share for name, share in self._reached.items())
        self._bars.update(self._whole, completed=done, figures=f"{self._ended}/{len(self._costs)} networks")

    def _end(self, event: Event) -> None:
        self._ended += 1
        self._reached[event.name] = 1.0
        self._bars.remove_task(self._lines.pop(event.name))
        self._bars.console.print(f"{event.name}: {event.text}")


class _Lines:
    """A line for each milestone."""

    def __init__(self, console: "Console", networks: int) -> None:
        self._console = console
        self._networks = networks
        self._ended = 0

    def show(self, event: Event) -> None:
        if event.kind == "started":
            self._console.print(f"{event.name}: {event.text or 'begins'}")
        elif event.kind == "notice":
            self._console.print(f"{event.name}: {event.text}")
        elif event.kind == "ended":
            self._ended += 1
            self._console.print(f"{event.name}: {event.text} ({self._ended} of {self._networks})")
