"""Signals: Ctrl-C, SIGTERM and a closed terminal end a command once, with time to save what was reached."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.output import leave_terminal, notice
from pipeline.tracking.connection import leave

SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # SIGHUP: the terminal was closed


def interruptible() -> None:
    """Make SIGTERM and SIGHUP act like Ctrl-C; after the first signal, further ones are ignored, so work can be saved.

    A signal that is already ignored stays ignored, because `nohup` ignores SIGHUP to let work outlive the terminal.
    """

    def interrupt(number: int, _frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        _announce_stop(number)
        leave()
        raise KeyboardInterrupt(signal.Signals(number).name)

    for each in heard():
        signal.signal(each, interrupt)


def heard() -> list[signal.Signals]:
    """Return the signals that end a command, except those that were ignored from the start, as `nohup` does."""
    return [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]


def _announce_stop(number: int) -> None:
    """Say at once that the signal was received, because stopping may take seconds and `mlflow run` does not wait."""
    if signal.Signals(number).name == "SIGHUP":
        leave_terminal()
    notice(f"Stopping ({signal.Signals(number).name}): what is reached is being saved.")


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Yield an event; inside the `with`, Ctrl-C, SIGTERM and SIGHUP set the event instead of interrupting."""
    stop = threading.Event()

    def request(number: int, _frame: object) -> None:
        if not stop.is_set():
            _announce_stop(number)
        stop.set()
        leave()

    before = {each: signal.signal(each, request) for each in heard()}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
