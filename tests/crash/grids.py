"""A grid of small networks in real processes, to be struck and started again, and what it leaves behind."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts, list_artifacts

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 150.0  # seconds after which what is waited for is taken to hang; a loaded machine is slow
THREE_NETWORKS = ("--activations", "relu,sigmoid,gelu", "--losses", "hinge", "--hidden-sizes", "128", "--workers", "2")
TRAINING = (  # momentum, so that the optimiser has a state to lose; an epoch ends inside a window of the curve
    *("--dataset", "digits", "--init-std", "he", "--learning-rate", "0.02", "--momentum", "0.9", "--batch-size", "50"),
    *("--max-epoch", "60", "--test-epoch", "2", "--disp-freq", "10"),
)
TRAININGS = {
    "digits": TRAINING,
    "mnist": ("--dataset", "mnist", "--momentum", "0.9", "--max-epoch", "20", "--test-epoch", "4"),
}


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait for a condition, which says what it found; nothing else here waits for time to pass."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience:.0f} seconds")
        time.sleep(0.01)
    return found


class Command:
    """`python -m pipeline ...` in a process group of its own."""

    def __init__(
        self,
        folder: Path,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        prefix: tuple[str, ...] = (),
        module: str = "pipeline",
    ) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}.txt"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, *arguments],
                cwd=folder,
                env=kept | {"PYTHONPATH": str(REPOSITORY)} | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def trainings(self) -> int:
        """How many trainings have begun, or begun again."""
        return self.output.count(": begins\n") + self.output.count(": goes on after")

    @property
    def last_line(self) -> str:
        return self.output.strip().splitlines()[-1]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def say(self, text: str, times: int = 1, patience: float = PATIENCE) -> None:
        """Wait until it has printed something; it may not end before."""

        def has_printed() -> bool:
            ended = self.ended
            if self.output.count(text) >= times:
                return True
            assert not ended, f"it ended without {text!r}:\n{self.output}"
            return False

        until(has_printed, f"{text!r} in\n{self.output}", patience)

    def end(self, patience: float = PATIENCE) -> int:
        """Wait for its end; returns the exit code."""
        until(lambda: self.ended, "the end of the command", patience)
        return self.process.returncode

    def workers(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [child for child in children if _is_worker(child)]
        return []

    def signal_all(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal_all(signal.SIGKILL)
        self.process.wait()


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any("spawn_main" in word for word in process.cmdline())
    return False


@dataclass(frozen=True)
class Result:
    """All of a run that an interruption may not change."""

    weights: Mapping[str, bytes]
    history: Mapping[str, list[tuple[int, float]]]
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    artifacts: list[str]


@dataclass
class Grid:
    """The folder in which a command, a grid as a rule, is started and started again."""

    folder: Path
    data_dir: Path
    command: str = "grid"
    networks: tuple[str, ...] = THREE_NETWORKS
    training: tuple[str, ...] = TRAINING
    uri: str = ""
    experiment: str = "Default"
    commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.uri = self.uri or f"sqlite:///{self.folder / 'mlflow.db'}"

    def start(self, prefix: tuple[str, ...] = (), **environment: str) -> Command:
        where = ("--data-dir", str(self.data_dir), "--checkpoint-dir", str(self.checkpoints))
        variables = {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_EXPERIMENT_NAME": self.experiment, **environment}
        command = Command(self.folder, (self.command, *self.networks, *self.training, *where), variables, prefix)
        self.commands.append(command)
        return command

    def launch(self, parameters: Mapping[str, str]) -> Command:
        """Start the same by `mlflow run`, with these parameters instead."""
        where = {"data_dir": str(self.data_dir), "checkpoint_dir": str(self.checkpoints)}
        given = [word for name, value in {**parameters, **where}.items() for word in ("-P", f"{name}={value}")]
        variables = {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_EXPERIMENT_NAME": self.experiment,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        arguments = ("run", str(REPOSITORY), "-e", self.command, "--env-manager", "local", *given)
        self.commands.append(Command(self.folder, arguments, variables, module="mlflow"))
        return self.commands[-1]

    def finish(self) -> Command:
        command = self.start()
        assert command.end() == 0, command.output
        return command

    def stop(self, send: Callable[[int], None]) -> None:
        """Send SIGSTOP, at a moment at which no lock is held, because nobody else could go on."""
        while True:
            send(signal.SIGSTOP)
            if not self._is_locked():
                return
            send(signal.SIGCONT)
            time.sleep(0.05)

    def _is_locked(self) -> bool:
        try:
            with ExitStack() as stack:
                for lock in self.folder.rglob("*.lock"):
                    stack.enter_context(FileLock(lock, timeout=0.2))
                for database in self.folder.glob("*.db"):
                    connection = sqlite3.connect(database, isolation_level=None, timeout=0.5)
                    stack.enter_context(closing(connection)).execute("BEGIN EXCLUSIVE")
        except (Timeout, sqlite3.OperationalError):
            return True
        return False

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def wait_for_checkpoints(self, command: Command) -> None:
        """Wait until every training that can be under way has something to go on from."""
        until(lambda: command.ended or len(self.checkpointed()) >= max(1, len(command.workers())), "checkpoints")
        assert not command.ended, command.output

    def checkpointed(self) -> list[Path]:
        """The folders of the runs that have checkpoints."""
        return [folder for folder in self.checkpoints.glob("*") if list(folder.glob("*.npz"))]

    @property
    def experiment_id(self) -> str:
        return str(MlflowClient(self.uri).get_experiment_by_name(self.experiment).experiment_id)

    def runs(self) -> list[Any]:
        return list(MlflowClient(self.uri).search_runs([self.experiment_id], max_results=1000))

    @property
    def finished(self) -> bool:
        parents = [run for run in self.runs() if "mlflow.parentRunId" not in run.data.tags]
        return [run.info.status for run in parents] == ["FINISHED"]

    def results(self) -> dict[str, Result]:
        """What is in the store, every run of which has to be finished and every checkpoint gone.

        A command's run that another one continued tells nothing.
        """
        runs = [run for run in self.runs() if "continued_by" not in run.data.tags]
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert not list(self.checkpoints.rglob("*.npz*")), "checkpoints are left"
        parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        assert len(parents) == 1, f"{len(parents)} runs stand for one command"
        children = [run for run in runs if run is not parents[0]]
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
        found = {run.info.run_name: self._result(run) for run in children}
        assert len(found) == len(children), "a network has two runs"
        return found

    def points(self) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """Every point of every network's run, by the run's name; times, which differ, aside."""
        client = MlflowClient(self.uri)
        runs = [run for run in self.runs() if "mlflow.parentRunId" in run.data.tags]
        found = {}
        for run in runs:
            keys = [key for key in run.data.metrics if key != "train_seconds"]
            every = {key: client.get_metric_history(run.info.run_id, key) for key in keys}
            found[run.info.run_name] = {key: sorted((each.step, each.value) for each in every[key]) for key in keys}
        assert len(found) == len(runs), "a network has two runs"
        return found

    def assert_tidy(self) -> None:
        """One run stands for the command; nothing runs, and no lease is left.

        A heartbeat may be, on a run that another one continued: who was stopped in the middle of a renewal sends it.
        """
        runs = self.runs()
        stand = [run for run in runs if not {"mlflow.parentRunId", "continued_by"} & run.data.tags.keys()]
        assert [run.info.status for run in stand] == ["FINISHED"]
        assert not [run.info.run_name for run in runs if run.info.status == "RUNNING"]
        assert not [run.info.run_name for run in runs if "lease" in run.data.tags]
        assert not [
            run.info.run_name for run in runs if {"heartbeat", "continued_by"} & run.data.tags.keys() == {"heartbeat"}
        ]

    def _result(self, run: Any) -> Result:
        client = MlflowClient(self.uri)
        run_id = run.info.run_id
        [model] = client.search_logged_models([self.experiment_id], f"source_run_id = '{run_id}'")
        assert model.status == "READY"
        folder = download_artifacts(model.artifact_location, tracking_uri=self.uri)
        [archive] = Path(folder).rglob("*.npz")
        with np.load(archive, allow_pickle=False) as weights:
            arrays = {name: weights[name].tobytes() for name in weights.files}
        history = {}
        for key in run.data.metrics:
            points = client.get_metric_history(run_id, key)
            history[key] = sorted((point.step, 0.0 if key == "train_seconds" else point.value) for point in points)
        return Result(
            weights=arrays,
            history=history,
            metrics={key: value for key, value in run.data.metrics.items() if key != "train_seconds"},
            parameters=run.data.params,
            artifacts=sorted(artifact.path for artifact in list_artifacts(run_id=run_id, tracking_uri=self.uri)),
        )


@contextmanager
def grid_in(folder: Path, data_dir: Path, **kwargs: Any) -> Iterator[Grid]:
    """A grid, none of whose processes outlives the `with`."""
    grid = Grid(folder, data_dir, **kwargs)
    try:
        yield grid
    finally:
        for command in grid.commands:
            command.kill()
