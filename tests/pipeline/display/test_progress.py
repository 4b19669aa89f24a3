"""What a person sees of trainings that run, on a pseudo-terminal and in a file."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading

import pyte
import pytest

from pipeline.display.progress import progress
from pipeline.training.task import Event, EventKind
from tests.conftest import REPOSITORY

NAMES = ["relu-hinge-2h", "sigmoid-softmax_cross_entropy-1h"]
TITLE = "grid digits, lr 0.1, he, 20 epochs"
COSTS = dict(zip(NAMES, (300, 100), strict=True))
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def without_size(environment):
    """The environment without what would count for more than the terminal's own size."""
    return {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}


class Terminal:
    """The far end of a pseudo-terminal: keeps what was written there, and sends what is typed."""

    def __init__(self, columns):
        self.far, self.near = pty.openpty()
        termios.tcsetwinsize(self.near, (40, columns))
        self._written = b""
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while True:
            try:
                new = os.read(self.far, 4096)
            except OSError:  # the near end is closed
                return
            with self._more:
                self._written += new
                self._more.notify_all()

    def wait(self, shows, seconds=120):
        with self._more:
            assert self._more.wait_for(lambda: shows(self.text), seconds), self.text[-3000:]

    def type(self, keys):
        os.write(self.far, keys)

    def close(self):
        os.close(self.near)
        self._reader.join()
        os.close(self.far)

    @property
    def text(self):
        return self._written.decode(errors="replace")

    @property
    def frame(self):
        """The lines of the display as it was drawn last."""
        return ESCAPE.sub("", re.split(r"\x1b\[\d*A\x1b\[2K(?!\x1b\[\d*A)", self.text)[-1]).split("\r\n")


@pytest.fixture
def terminal(monkeypatch):
    """What stands on a terminal when `events` have been told and the display is left."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    # rich asks the size of descriptors 0 to 2, which are not the pseudo-terminal here: COLUMNS tells it.
    def show(*events, columns=130, quiet=False, costs=COSTS):
        device = Terminal(columns)
        with os.fdopen(os.dup(device.near), "w") as stderr, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stderr)
            patch.setenv("COLUMNS", str(columns))
            with progress(TITLE, costs, quiet=quiet) as report:
                for event in events:
                    report(event)
        device.close()
        return device

    return show


def event(number, epoch, kind="evaluated", **more):
    return Event(EventKind(kind), NAMES[number], 20, epoch, **more)


def test_a_terminal_has_a_line_for_each_network(terminal):
    shown = terminal(
        event(0, 0, "started"),
        event(1, 0, "started"),
        event(0, 5, accuracy=0.9123, loss=0.25, seconds=4.0),
        event(1, 10, accuracy=0.8, loss=1.5, seconds=5.0),
        event(1, 11, "epoch", seconds=5.5),
    ).frame
    whole, first, second = (line.rstrip() for line in shown if line.strip())
    assert re.match(r"grid digits, lr 0.1, he, 20 epochs .* 0/2 done +(--:--|\d+:\d\d)", whole)
    assert re.match(r"relu-hinge-2h .* epoch 5/20 +91.23% +loss 0.2500 +0.80 s/epoch +(--:--|\d+:\d\d)$", first)
    assert re.match(
        r"sigmoid-softmax_cross_entropy-1h .* epoch 11/20 +80.00% +loss 1.5000 +0.50 s/epoch +(--:--|\d+:\d\d)$", second
    )


def test_what_has_ended_stays_above_the_display(terminal):
    shown = terminal(
        event(0, 5, accuracy=0.9, loss=0.25, seconds=4.0),
        event(0, 20, "ended", text="finished, accuracy 93.00%, 16.0 s of training"),
        event(1, 1, "epoch", seconds=0.1),
    )
    assert f"{NAMES[0]}: finished, accuracy 93.00%, 16.0 s of training" in ESCAPE.sub("", shown.text)
    assert any("1/2 done" in line for line in shown.frame)
    assert not any(line.startswith("relu") for line in shown.frame)


def test_a_notice_is_printed_once(terminal):
    shown = terminal(event(0, 5, "notice", text="its worker process died"))
    assert ESCAPE.sub("", shown.text).count("its worker process died") == 1


def test_what_ends_without_having_begun_is_counted(terminal):
    shown = terminal(event(0, 20, "ended", text="failed: no data"), event(1, 20, "ended", text="failed: no data"))
    assert any("2/2 done" in line for line in shown.frame)


def _two_threads_tell(report, count):
    """Events as they come in a grid: from the workers through one thread, the ends from another."""

    def begin(start):
        for number in range(start, count, 2):
            report(Event(EventKind.STARTED, f"net{number}", 20))
            report(Event(EventKind.EVALUATED, f"net{number}", 20, 20, 0.9, 0.2, 1.0))
            report(Event(EventKind.ENDED, f"net{number}", 20, 20, text="finished"))

    threads = [threading.Thread(target=begin, args=(start,)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=pytest.mark.long)])
def test_no_line_is_lost_at_full_speed(times, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("pipeline.display.progress._REFRESH_SECONDS", 0.001)
    for _ in range(times):
        device = Terminal(100)
        with os.fdopen(os.dup(device.near), "w") as stderr, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stderr)
            with progress("grid", {f"net{number}": 1 for number in range(200)}, quiet=False) as report:
                _two_threads_tell(report, 200)
        device.close()
        screen = pyte.HistoryScreen(100, 40, history=10_000)
        pyte.Stream(screen).feed(device.text)
        kept = ["".join(line[column].data for column in range(100)).rstrip() for line in screen.history.top]
        shown = {line for line in [*kept, *(line.rstrip() for line in screen.display)] if "finished" in line}
        assert shown == {f"net{number}: finished" for number in range(200)}


def test_a_file_is_no_terminal_whatever_colours_are_forced(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("grid", COSTS, quiet=False) as report:
        report(event(0, 5, accuracy=0.9, loss=0.25, seconds=4.0))
        report(event(0, 20, "ended", text="finished"))
    assert capsys.readouterr().err == f"{NAMES[0]}: finished (1 of 2)\n"


def test_a_terminal_that_cannot_redraw_has_plain_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    shown = terminal(event(0, 0, "started"), event(0, 20, "ended", text="finished")).text
    assert shown.splitlines() == [f"{NAMES[0]}: begins", f"{NAMES[0]}: finished (1 of 2)"]


@pytest.mark.parametrize("quiet", [True, False])
def test_a_warning_is_shown_even_if_quiet_is_asked_for(quiet, capsys):
    with progress("grid", COSTS, quiet=quiet) as report:
        report(event(0, 20, "warning", text="mistakes.png is missing ([/red] db://me:opensesame@host)"))
    assert capsys.readouterr().err == f"Warning: {NAMES[0]}: mistakes.png is missing ([/red] db://me:***@host)\n"


def test_a_narrow_terminal_has_the_same_figures(terminal):
    shown = terminal(
        event(0, 5, accuracy=0.9123, loss=0.25, seconds=4.0),
        event(1, 10, accuracy=0.8, loss=1.5, seconds=5.0),
        columns=80,
    ).frame
    whole, first, second = (line.rstrip() for line in shown if line.strip())
    assert re.match(r"grid digits, lr 0.1, he, 20 epo… +0/2 done +(--:--|\d+:\d\d)$", whole)
    assert re.match(r"relu-hinge-2h +5/20 +91.23% +loss 0.2500 +0.80 s/epoch +(--:--|\d+:\d\d)$", first)
    assert re.match(
        r"sigmoid-softmax_cross_entropy-1h +10/20 +80.00% +loss 1.5000 +0.50 s/epoch +(--:--|\d+:\d\d)$", second
    )


LONG = "sigmoid-softmax_cross_entropy-1h seed 1"


def test_no_line_breaks_at_80_columns_beside_a_long_name(terminal):
    def of(kind, **more):
        return Event(EventKind(kind), LONG, 200, more.pop("epoch", 0), **more)

    shown = terminal(
        of("started"),
        of("evaluated", epoch=200, accuracy=0.9123, loss=12.25, seconds=4000.0),
        of("notice", text="process 123456 on some-host.example may be training it; waits for a sign of life"),
        of("ended", epoch=200, text="finished, accuracy 91.23%, 4000.0 s"),
        of("epoch", epoch=199, accuracy=0.9123, loss=12.25, seconds=4000.0),
        columns=80,
        costs={LONG: 1},
    )
    lines = [line.rstrip() for line in re.split("[\r\n]+", ESCAPE.sub("", shown.text))]
    assert max(map(len, lines)) <= 80
    assert f"{LONG}: finished, accuracy 91.23%, 4000.0 s" in lines
    assert f"{LONG}: process 123456 on some-host.example may" in lines
    assert any(re.match(rf"{LONG} +199/200 +91.23% +loss 12.2500 ", line) for line in lines)


def test_the_start_of_the_workers_is_said_until_a_network_begins(terminal):
    start = Event(EventKind.WORKERS, "", 0, text="starting 2 workers")
    begins = ESCAPE.sub("", terminal(start, columns=80).text)
    assert re.search(r"grid digits, lr 0.1, he, 20 epo… starting 2 workers +--:--", begins)
    assert "starting" not in "".join(terminal(start, event(0, 0, "started")).frame)


def test_a_very_narrow_terminal_keeps_one_line_a_network(terminal):
    shown = terminal(event(0, 5, accuracy=0.9123, loss=0.25, seconds=4.0), columns=40).frame
    lines = [line for line in shown if line.strip()]
    assert len(lines) == 2
    assert all(len(line) <= 40 for line in lines)


def test_quiet_is_silent_on_a_terminal(terminal):
    assert terminal(event(0, 5), event(0, 20, "ended"), quiet=True).text == ""


def test_a_file_has_a_plain_line_for_each_milestone(capsys):
    with progress("grid", COSTS, quiet=False) as report:
        report(Event(EventKind.WORKERS, "", 0, text="starting 2 workers"))
        report(event(0, 0, "started"))
        report(event(1, 7, "started", text="goes on after epoch 7"))
        report(event(0, 5, accuracy=0.9, loss=0.25, seconds=4.0))
        report(event(0, 5, "notice", text="its worker process died"))
        report(event(0, 20, "ended", text="finished"))
        report(event(1, 20, "ended", text="finished"))
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == [
        "grid: starting 2 workers",
        f"{NAMES[0]}: begins",
        f"{NAMES[1]}: goes on after epoch 7",
        f"{NAMES[0]}: its worker process died",
        f"{NAMES[0]}: finished (1 of 2)",
        f"{NAMES[1]}: finished (2 of 2)",
    ]


GRID = ("grid", "--dataset", "digits", "--hidden-sizes", "128", "--losses", "hinge", "--activations", "relu,gelu")


def test_a_grid_into_files_says_each_milestone_and_its_results_apart(pipeline):
    done = pipeline(*GRID, "--max-epoch", "2")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert re.sub(r"[\d.]+(%| s)", "-", done.stderr).splitlines()[-1].endswith("-1h: finished, accuracy -, - (2 of 2)")
    assert len(done.stderr.splitlines()) == 5
    assert done.stdout.splitlines()[0] == "grid digits, 2 epochs, layers 128, loss hinge"
    assert {line.removeprefix("*").split()[0] for line in done.stdout.splitlines()[-2:]} == {"relu", "gelu"}


def test_quiet_says_the_results_and_nothing_else(pipeline):
    done = pipeline("train", "--dataset", "digits", "--max-epoch", "2", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 6


def test_a_grid_on_a_terminal_shows_its_way_and_can_be_stopped(data_dir):
    """The real command in a session of its own, whose terminal it is: what is typed there, Ctrl-C, goes to it."""
    terminal = Terminal(80)
    begin = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'pipeline', *sys.argv[1:]])\n"
    )
    options = ("--max-epoch", "1000000", "--workers", "2", "--data-dir", str(data_dir))
    process = subprocess.Popen(
        [sys.executable, "-c", begin, *GRID, *options],
        stdin=terminal.near,
        stdout=terminal.near,
        stderr=terminal.near,
        env=without_size(os.environ) | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color"},
        start_new_session=True,
    )
    figures = r" +\d+/1000000 +[\d.]+% +loss [\d.]+ +[\d.]+ s/epoch +[\d:]+"
    try:
        for network in ("relu-hinge-1h", "gelu-hinge-1h"):
            terminal.wait(lambda text, network=network: re.search(network + figures, ESCAPE.sub("", text)))
        terminal.wait(lambda text: re.search(r"grid digits, \S+ .* 0/2 done +[\d:]+", ESCAPE.sub("", text)))
        terminal.type(b"\x03")
        assert process.wait(120) == 130, terminal.text[-3000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        terminal.close()
    lines = ESCAPE.sub("", terminal.text).replace("^C", "").splitlines()  # the terminal's own echo
    assert lines[-2:] == [
        "Error: Stopped by SIGINT: 0 of 2 networks are finished, and what the others",
        "reached is kept. Run the same command again to go on.",
    ]
    assert any(re.match(r" +(relu|gelu) +killed ", line) for line in lines), lines[-12:]
    assert [line for line in lines if len(line) > 80] == []
