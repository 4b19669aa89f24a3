"""A password in the address of the tracking store is in nothing that a search writes, and in no process's arguments."""

from pathlib import Path

import psutil
import pytest

from tests.crash.grids import grid_in, until
from tests.servers import mlflow_server

pytestmark = pytest.mark.long

SECRET = "opensesame"  # noqa: S105
SEARCH = ("--workers", "2", "--trials", "4", "--confirm", "0", "--space", "learning_rate=0.01..1 log")
TRAINING = ("--dataset", "digits", "--init-std", "he", "--max-epoch", "40", "--test-epoch", "2")


def arguments_of(command):
    """The arguments of the command's processes, as every user of the machine can read them."""
    pids = [command.process.pid, *(child.pid for child in psutil.Process(command.process.pid).children(recursive=True))]
    files = [Path("/proc", str(pid), "cmdline") for pid in pids]
    return {file.parent.name: file.read_bytes() for file in files if file.exists()}


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="arguments are read from /proc")
def test_a_password_in_the_address_of_the_store_stays_in_the_environment(tmp_path, data_dir):
    server = ("server", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db",
              "--artifacts-destination", str(tmp_path / "artifacts"), "--workers", "1")  # fmt: skip
    with mlflow_server(*server, log=tmp_path / "server.log", answering="/health") as address:
        uri = address.replace("://", f"://me:{SECRET}@")
        with grid_in(
            tmp_path / "work", data_dir, command="search", networks=SEARCH, training=TRAINING, uri=uri
        ) as search:
            command = search.start()
            until(lambda: command.ended or list(search.checkpoints.rglob("*.npz")), "a trial")
            assert not command.ended, command.output
            arguments = arguments_of(command)
            assert len(arguments) > 2, "there are workers"
            assert not [words for words in arguments.values() if SECRET.encode() in words]
            assert command.end() == 0, command.output
    assert (tmp_path / "work" / "optuna.db").exists()
    written = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert not [file for file, content in written.items() if SECRET.encode() in content]
