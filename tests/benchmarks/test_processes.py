"""Processes of the benchmarks end with the one that started them, whatever ends that one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY

SCRIPT = """
import subprocess, sys, tempfile
from contextlib import ExitStack
from benchmarks.processes import Process, exit_on_signals

if __name__ == "__main__":
    exit_on_signals()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        processes = [Process([0]), Process([0])]
        for process in processes:
            stack.callback(process.close)
        call = processes[0].submit(subprocess.run, [sys.executable, "-c", "import signal; signal.pause()"])
        print(folder, flush=True)
        call.result()
"""
PATIENCE = 60


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def begun(tmp_path):
    """A process with two others below it, one of which has a call under way; and its temporary folder."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    started = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    folder = started.stdout.readline().strip()
    process = psutil.Process(started.pid)
    wait_for(lambda: any(each.parent() != process for each in process.children(recursive=True)))
    below = process.children(recursive=True)
    yield started, folder, below
    for each in [*below, process]:
        if each.is_running():
            each.kill()
    started.wait()
    started.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_stays_after_a_signal(begun, number):
    started, folder, below = begun
    started.send_signal(number)
    assert started.wait(PATIENCE) == (-number if number == signal.SIGKILL else 128 + number)
    assert psutil.wait_procs(below, PATIENCE)[1] == []
    assert Path(folder).exists() == (number == signal.SIGKILL)
