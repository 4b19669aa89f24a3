"""PostgreSQL, an MLflow server on it, and a Dask cluster, in processes of their own on free ports of the loopback."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from tests.crash.grids import REPOSITORY, until
from tests.servers import PATIENCE, free_port

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))


class Postgres:
    """A PostgreSQL of its own, in a folder of its own; skips the test where there is none."""

    def __init__(self) -> None:
        if not _BINARIES:
            pytest.skip("PostgreSQL is not here (apt-get install postgresql)")
        self.port = free_port()
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # root may not run it
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if self._as_user:
            shutil.chown(self._folder, "postgres")
        self._call("initdb", "--username", "mlp", "--auth", "trust", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories='' -c fsync=off"
        self._start = ("--wait", "--log", str(self._folder / "log"), "--options", options)
        self._call("pg_ctl", *self._start, "start")

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(_BINARIES[-1] / program), "--pgdata", str(self._folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def create(self, database: str) -> str:
        """Create a database; gives its address."""
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--username", "mlp"]
        subprocess.run([_BINARIES[-1] / "createdb", *where, database], check=True)
        return f"postgresql+psycopg://mlp@127.0.0.1:{self.port}/{database}"

    def restart(self) -> None:
        """Restart it as after a crash: every connection is cut, and it recovers from its log."""
        self._call("pg_ctl", *self._start, "--mode", "immediate", "restart")

    def process(self) -> psutil.Process:
        return psutil.Process(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]))

    def remove(self) -> None:
        self._call("pg_ctl", "--mode", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)


class Service:
    """A server that can be killed and started again at its address."""

    def __init__(self, *command: str, log: Path, answering: str = "", **environment: str) -> None:
        self._command, self._log, self._answering = command, log, answering
        self._environment = os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._command],
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._log.parent,
                start_new_session=True,
            )
        if self._answering:
            until(self._answers, f"{self._answering}, see {self._log}", PATIENCE)

    def _answers(self) -> bool:
        try:
            return requests.get(self._answering, timeout=5).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """Kill it and the processes that it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Services:
    """All of them.

    Attributes:
        uri: of the MLflow server.
        scheduler_address: of the Dask scheduler.
        workers: two, whose folders are apart.
    """

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder = folder
        self.postgres = postgres
        self.optuna = postgres.create("optuna")
        port, self._scheduler_port = free_port(), free_port()
        self.uri = f"http://127.0.0.1:{port}"
        self.scheduler_address = f"tcp://127.0.0.1:{self._scheduler_port}"
        self.artifacts = folder / "artifacts"
        self.scheduler = self._dask("scheduler", "--port", str(self._scheduler_port))
        self.workers = [self._new_worker(name) for name in ("first", "second")]
        self.server = Service(
            *("mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", postgres.create("mlflow"), "--artifacts-destination", str(self.artifacts)),
            log=folder / "server.log",
            answering=f"{self.uri}/health",
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",  # which would start six processes more
        )

    def _dask(self, kind: str, *arguments: str, name: str = "scheduler", **environment: str) -> Service:
        options = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
        return Service("dask", kind, *arguments, *options, log=self.folder / f"{name}.log", **environment)

    def _new_worker(self, name: str) -> Service:
        own = self.folder / name
        folders = {f"PIPELINE_{kind}_DIR": str(own / kind.lower()) for kind in ("DATA", "CHECKPOINT")}
        arguments = (self.scheduler_address, "--nthreads", "1", "--no-nanny", "--local-directory", str(own))
        return self._dask("worker", *arguments, name=name, **folders)

    def checkpoints(self, worker: str) -> list[Path]:
        """The checkpoints in the folder of a worker, the first or the second."""
        return list((self.folder / worker / "checkpoint").rglob("*.npz"))

    def all(self) -> list[Service]:
        return [self.server, self.scheduler, *self.workers]

    def processes(self) -> Iterator[psutil.Process]:
        for root in [self.postgres.process(), *(psutil.Process(each.process.pid) for each in self.all())]:
            yield from [root, *root.children(recursive=True)]


@contextmanager
def services_in(folder: Path) -> Iterator[Services]:
    """All of them inside the `with`."""
    postgres = Postgres()
    services = None
    try:
        services = Services(folder, postgres)
        yield services
    finally:
        for service in services.all() if services else []:
            service.kill()
        postgres.remove()
