"""The benchmark's own command leaves no process behind, whatever signal ends it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress

import psutil
import pytest

from tests.conftest import REPOSITORY

MARK = "TEST_OF_BENCHMARKS"
PATIENCE = 240
MOMENTS = {
    "starting": "  starting this project's tracked runs",
    "training": "  nine networks:",
    "server": "  tracked run, mlflow server:",
    "grid": "  grid of 18 networks, 1 worker",
}
"""A line that the command writes when it comes to a moment, by the name of the moment."""


def marked(value):
    """All processes that inherited the mark, wherever they are in the tree of processes."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGTERM, "starting"), (signal.SIGINT, "training"), (signal.SIGTERM, "server"), (signal.SIGHUP, "grid")],
)
def test_no_process_of_the_command_stays_after_a_signal(number, moment, data_dir, tmp_path):
    value = uuid.uuid4().hex
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), MARK: value, "TMPDIR": str(tmp_path)}
    arguments = ["--dataset", "digits", "--data-dir", str(data_dir), "--contenders", "numpy", "--rounds", "1",
                 "--epochs", "1", "--whole-epochs", "1", "--grid-epochs", "1",
                 "--output", str(tmp_path / "report.md")]  # fmt: skip
    command = [sys.executable, "-m", "benchmarks", *arguments]
    try:
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as started:
            lines = []
            for line in started.stderr:
                lines.append(line)
                if line.startswith(MOMENTS[moment]):
                    break
            else:
                pytest.fail("".join(lines))
            before = len(marked(value))
            if moment in {"server", "grid"}:  # the processes of this moment are what is tested: wait for the first
                deadline = time.monotonic() + PATIENCE
                while len(marked(value)) <= before:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            started.send_signal(number)
            started.communicate(timeout=PATIENCE)
        assert started.returncode == 128 + number
        _, left = psutil.wait_procs(marked(value), timeout=30)
        assert [process.cmdline() for process in left] == []
        assert not (tmp_path / "report.md").exists()
    finally:
        for process in marked(value):
            process.kill()
