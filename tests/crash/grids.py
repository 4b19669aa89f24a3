"""A grid of small networks in real processes, to be struck and started again, and what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts, list_artifacts

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 150.0  # seconds after which what is waited for is taken to hang; a loaded machine is slow
FOUR_NETWORKS = (
    *("--activations", "relu,sigmoid", "--losses", "softmax_cross_entropy,hinge", "--hidden-layers", "1"),
    *("--init-std", "he", "--learning-rate", "0.02", "--momentum", "0.9", "--batch-size", "50"),
    *("--max-epoch", "60", "--test-epoch", "2", "--disp-freq", "10"),
)  # momentum, so that the optimiser has a state to lose; an epoch ends within a window of the curve


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, which says what it found; nothing else here waits for time to pass."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE:.0f} seconds")
        time.sleep(0.01)
    return found


class Command:
    """`python -m pipeline ...` in a process group of its own."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}.txt"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", *arguments],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
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

    def say(self, text: str, times: int = 1) -> None:
        """Wait until it has said something; it may not end before."""

        def said() -> bool:
            ended = self.ended
            if self.output.count(text) >= times:
                return True
            assert not ended, f"it ended without {text!r}:\n{self.output}"
            return False

        until(said, f"{text!r} in\n{self.output}")

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        until(lambda: self.ended, "the end of the command")
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
class Network:
    """All of a run that an interruption may not change."""

    weights: Mapping[str, bytes]
    history: Mapping[str, list[tuple[int, float]]]
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    artifacts: list[str]


@dataclass
class Grid:
    """The folder in which a grid is started and started again, with the same command."""

    folder: Path
    data_dir: Path
    arguments: tuple[str, ...] = FOUR_NETWORKS
    environment: dict[str, str] = field(default_factory=dict)
    uri: str = ""
    commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.uri = self.uri or f"sqlite:///{self.folder / 'mlflow.db'}"

    def start(self, **environment: str) -> Command:
        where = ("--data-dir", str(self.data_dir), "--checkpoint-dir", str(self.checkpoints), "--workers", "2")
        arguments = ("grid", "--dataset", "digits", *self.arguments, *where)
        told = {"MLFLOW_TRACKING_URI": self.uri, **self.environment, **environment}
        command = Command(self.folder, arguments, told)
        self.commands.append(command)
        return command

    def finish(self) -> Command:
        command = self.start()
        assert command.end() == 0, command.output
        return command

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def runs(self) -> list[Any]:
        return list(MlflowClient(self.uri).search_runs(["0"], max_results=1000))

    def statuses(self) -> dict[str, str]:
        """How each run of a network stands; there is one for each."""
        children = [run for run in self.runs() if "mlflow.parentRunId" in run.data.tags]
        statuses = {run.info.run_name: run.info.status for run in children}
        assert len(statuses) == len(children), "a network has two runs"
        return statuses

    def networks(self) -> dict[str, Network]:
        """What is in the store, every run of which has to be finished and every checkpoint gone."""
        runs = self.runs()
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert not list(self.checkpoints.rglob("*.npz*")), "checkpoints are left"
        parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        assert len(parents) == 1, f"{len(parents)} runs stand for one command"
        children = [run for run in runs if run is not parents[0]]
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
        found = {run.info.run_name: self._network(run) for run in children}
        assert len(found) == len(children), "a network has two runs"
        return found

    def _network(self, run: Any) -> Network:
        client = MlflowClient(self.uri)
        run_id = run.info.run_id
        [model] = client.search_logged_models(["0"], f"source_run_id = '{run_id}'")
        assert model.status == "READY"
        folder = download_artifacts(model.artifact_location, tracking_uri=self.uri)
        [archive] = Path(folder).rglob("*.npz")
        with np.load(archive, allow_pickle=False) as weights:
            arrays = {name: weights[name].tobytes() for name in weights.files}
        history = {}
        for key in run.data.metrics:
            points = client.get_metric_history(run_id, key)
            history[key] = sorted((point.step, 0.0 if key == "train_seconds" else point.value) for point in points)
        return Network(
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
