"""Servers of MLflow in processes of their own, on this machine's loopback and a free port."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

PATIENCE = 240
"""Seconds after which a server that does not answer is given up; a busy machine takes its time."""


@contextmanager
def mlflow_server(
    *command: str, log: Path, answering: str, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run `mlflow COMMAND` inside the `with`; yields its address once `answering`, a path, does."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    arguments = [sys.executable, "-m", "mlflow", *command, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, stdout=output, stderr=output, env=environment, start_new_session=True
        )  # a session of its own, so that the workers that it starts end with it
    try:
        _wait(process, address + answering, log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(url):
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        raise AssertionError(f"no answer from {url}:\n{log.read_text()[-3000:]}")


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
