"""What a person sees while networks are trained: a live line for each on a terminal, plain lines elsewhere."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pipeline.output import one_line
from pipeline.redaction import redacted
from pipeline.training.task import Event, EventKind, Report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


@contextmanager
def progress(title: str, costs: Mapping[str, float], *, quiet: bool) -> Iterator[Report]:
    """Show the progress of trainings inside the `with`; yields a function that the caller calls with each event.

    Args:
        title: name of all trainings together.
        costs: the work of each network, by its name.
        quiet: show nothing but warnings.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    live = _is_live(console)
    console.soft_wrap = not live  # a file has no width
    if quiet:
        yield _Warnings(console).show
    elif live:
        bars = _bars(console, max(map(len, costs), default=0))
        with _refreshed(bars) as lock:
            yield _Terminal(bars, title, costs, lock).show
    else:
        yield _Lines(console, title, len(costs)).show


def _is_live(console: "Console") -> bool:
    """Whether lines can be redrawn: only on a real terminal that can move its cursor, whatever FORCE_COLOR says."""
    return console.is_terminal and console.file.isatty() and not console.is_dumb_terminal


@contextmanager
def _refreshed(bars: "Progress") -> Iterator[threading.Lock]:
    """Show the bars inside the `with`; a thread redraws them while the yielded lock is free.

    Rich's own refresh takes no lock, so it can erase lines that are printed at the same time. An error of a write is
    dropped: a terminal was closed, and the signal that comes with this ends the work in good order.
    """
    lock, done = threading.Lock(), threading.Event()

    def refresh() -> None:
        while not done.wait(_REFRESH_SECONDS):
            with lock, suppress(OSError):
                bars.refresh()

    thread = threading.Thread(target=refresh, daemon=True, name="progress")
    with suppress(OSError):
        bars.start()
    thread.start()
    try:
        yield lock
    finally:
        done.set()
        thread.join()
        with suppress(OSError):
            bars.stop()


def _bars(console: "Console", longest: int) -> "Progress":
    """Make the columns that fit: a narrow terminal has no room for bars, nor for the speed beside a long name."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    wide = console.width >= _WIDE
    room = console.width - _COLUMNS_WIDTH - _WIDE_EXTRA * wide
    shown = _COLUMNS if longest <= room else _COLUMNS[:-1]
    room += sum(_SPEED_WIDTH for field in _COLUMNS if field not in shown)
    return Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=max(room, 8))),
        *([BarColumn(bar_width=16)] if wide else []),
        *(TextColumn(f"{{task.fields[{field}]}}", justify="right") for field in shown),
        TimeRemainingColumn(compact=True),
        console=console,
        auto_refresh=False,
    )


_COLUMNS: Final = ("reached", "accuracy", "loss", "speed")
_COLUMNS_WIDTH: Final = 48
_SPEED_WIDTH: Final = 13
_WIDE_EXTRA: Final = 24
"""Characters that a wide terminal shows in addition: a bar, and the word epoch."""
_WIDE: Final = 105
_REFRESH_SECONDS: Final = 0.1
_EMPTY: Final[dict[str, Any]] = dict.fromkeys(_COLUMNS, "")


class _Terminal:
    """Shows a line for all networks together, and under it a line for each network in training."""

    def __init__(self, bars: "Progress", title: str, costs: Mapping[str, float], lock: threading.Lock) -> None:
        self._bars = bars
        self._lock = lock
        self._costs = costs
        self._lines: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}
        self._reached: dict[str, float] = {}
        self._ended = 0
        self._epoch = "epoch " if bars.console.width >= _WIDE else ""
        self._total = bars.add_task(title, total=sum(costs.values()), **_EMPTY)
        self._show_total()

    def show(self, event: Event) -> None:
        with self._lock, suppress(OSError):
            self._show(event)

    def _show(self, event: Event) -> None:
        if event.kind in _PRINTED:
            self._bars.console.print(_line(event))
            return
        if event.kind is EventKind.WORKERS:
            self._bars.update(self._total, reached=event.text)
            return
        self._reached[event.name] = event.epoch / event.max_epoch
        self._begun.setdefault(event.name, self._reached[event.name])
        self._show_network(event)
        if event.kind is EventKind.ENDED:
            self._ended += 1
            self._reached[event.name] = 1.0
            self._bars.remove_task(self._lines.pop(event.name))
            self._bars.console.print(_line(event))
        self._show_total()

    def _show_network(self, event: Event) -> None:
        line = self._lines.get(event.name)
        if line is None:
            line = self._bars.add_task(event.name, total=event.max_epoch, completed=event.epoch, **_EMPTY)
            self._lines[event.name] = line
        columns: dict[str, Any] = {"reached": f"{self._epoch}{event.epoch}/{event.max_epoch}"}
        if event.accuracy is not None and event.loss is not None:
            columns |= {"accuracy": f"{event.accuracy:.2%}", "loss": f"loss {event.loss:.4f}"}
        if event.epoch and event.seconds:
            columns["speed"] = f"{event.seconds / event.epoch:.2f} s/epoch"
        self._bars.update(line, completed=event.epoch, **columns)

    def _show_total(self) -> None:
        """Update the line for all networks; epochs of earlier processes would falsify the time left, so none count."""
        before = sum(self._costs.get(name, 0) * share for name, share in self._begun.items())
        done = sum(self._costs.get(name, 0) * share for name, share in self._reached.items())
        reached = f"{self._ended}/{len(self._costs)} done"
        self._bars.update(
            self._total, completed=done - before, total=sum(self._costs.values()) - before or 1, reached=reached
        )


def _line(event: Event) -> str:
    warning = "Warning: " if event.kind is EventKind.WARNING else ""
    return one_line(redacted(f"{warning}{event.name}: {event.text}"))


_PRINTED: Final = (EventKind.NOTICE, EventKind.WARNING)


class _Warnings:
    """Prints a line for each warning, and nothing else."""

    def __init__(self, console: "Console") -> None:
        self._console = console

    def show(self, event: Event) -> None:
        if event.kind is EventKind.WARNING:
            self._console.print(_line(event))


class _Lines:
    """Prints a line for each milestone."""

    def __init__(self, console: "Console", title: str, networks: int) -> None:
        self._console = console
        self._title = title
        self._networks = networks
        self._ended = 0

    def show(self, event: Event) -> None:
        if event.kind is EventKind.WORKERS:
            self._console.print(f"{self._title}: {event.text}")
        elif event.kind is EventKind.STARTED:
            self._console.print(_line(replace(event, text=event.text or "begins")))
        elif event.kind in _PRINTED:
            self._console.print(_line(event))
        elif event.kind is EventKind.ENDED:
            self._ended += 1
            self._console.print(f"{_line(event)} ({self._ended} of {self._networks})")
