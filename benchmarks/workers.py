"""Many networks on worker processes: what a second worker gains, and how much memory one has of its own."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final, NamedTuple

import psutil

from benchmarks.processes import Process, cores
from benchmarks.section import Figure, Section, at_least, at_most, counted, spread
from benchmarks.trainings import finished, new_task
from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import TrainingConfig
from pipeline.display.tables import markdown_table
from pipeline.experiments import grid
from pipeline.tracking.store import Store
from pipeline.training.estimate import Estimate
from pipeline.training.executor import run_tasks
from pipeline.training.task import Event

_PUBLISHED: Final = grid(
    TrainingConfig(), hidden_sizes=((128,), (256, 64)), activations=ACTIVATIONS, losses=LOSSES, seeds=[0]
)
_LARGEST: Final = TrainingConfig(hidden_sizes=(256, 64), activation="gelu", loss="hinge")
_LOOK_SECONDS: Final = 0.1


class Memory(NamedTuple):
    """The most that a worker had at any time, in bytes.

    Attributes:
        own: what would be free if it ended: its unique set size.
        resident: with what it shares with others, the data among it.
    """

    own: int
    resident: int


def train_many(configs: list[TrainingConfig], workers: int, data_dir: Path, folder: Path) -> float:
    """Train networks as `python -m pipeline grid` does; gives the seconds from the beginning of the first on."""
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
    store = Store.open()
    tasks = [new_task(config, store, data_dir, folder) for config in configs]
    began: list[float] = []

    def hear(event: Event) -> None:
        if event.kind == "started":
            began.append(perf_counter())

    estimate = Estimate.from_store(store)
    tasks.sort(key=lambda task: estimate.of(task.config), reverse=True)
    ended = 0.0
    for outcome in run_tasks(tasks, workers=workers, scheduler=None, report=hear):
        finished(outcome)
        ended = perf_counter()
    return ended - began[0]


def memory_of_worker(configs: list[TrainingConfig], data_dir: Path, folder: Path) -> Memory:
    """The memory of the only worker that trains these networks."""
    with _watched() as looks:
        train_many(configs, 1, data_dir, folder)
    return Memory(max(look.own for look in looks), max(look.resident for look in looks))


@contextmanager
def _watched() -> Iterator[list[Memory]]:
    """Look at the largest process below this one, again and again inside the `with`."""
    looks: list[Memory] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            looks.extend(_looked())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield looks
    finally:
        done.set()
        watcher.join()


def _looked() -> Iterator[Memory]:
    for child in psutil.Process().children(recursive=True):
        try:
            memory = child.memory_full_info()
        except psutil.Error:  # it has ended
            continue
        yield Memory(memory.uss, memory.rss)


class Workers(Section):
    """Scaling and memory."""

    title = "Scaling with workers, and their memory"
    every = 2

    def open(self, stack: ExitStack) -> None:
        """Start a process that will be the client of the clusters."""
        self.process = Process(cores())
        stack.callback(self.process.close)
        self.folder = self.settings.folder / "workers"
        self.folder.mkdir()
        self.seconds: dict[int, list[float]] = {1: [], 2: []}
        self.memory: list[Memory] = []

    def measure(self) -> None:
        """The grid with one worker and with two, then two networks whose worker is watched."""
        for workers, samples in self.seconds.items():
            self.say(f"grid of {len(_PUBLISHED)} networks, {counted(workers, 'worker')}")
            configs = self._configs(_PUBLISHED, self.settings.grid_epochs)
            samples.append(self.process.run(train_many, configs, workers, self.settings.data_dir, self.folder))
        self.say("memory of a worker")
        configs = self._configs([TrainingConfig(), _LARGEST], self.settings.epochs)
        self.memory.append(self.process.run(memory_of_worker, configs, self.settings.data_dir, self.folder))

    def _configs(self, networks: list[TrainingConfig], epochs: int) -> list[TrainingConfig]:
        return [replace(network, dataset=self.settings.dataset, max_epoch=epochs) for network in networks]

    def _gains(self) -> list[float]:
        return [one / two for one, two in zip(self.seconds[1], self.seconds[2], strict=True)]

    def figures(self) -> list[Figure]:
        """The gain of a second worker, and the memory of one."""
        own = median(each.own for each in self.memory) / 1e6
        return [
            at_least(
                "throughput of two workers divided by that of one, over the grid", median(self._gains()), 1.9, ".2f"
            ),
            at_most(f"a worker's own resident memory, {self.settings.dataset}", own, 400, ".0f", " MB"),
        ]

    def markdown(self) -> str:
        """Two tables."""
        networks = len(_PUBLISHED)
        rows = [
            [str(workers), spread(samples, ".1f"), f"{60 * networks / median(samples):.1f}"]
            for workers, samples in self.seconds.items()
        ]
        own, resident = ([memory[kind] / 1e6 for memory in self.memory] for kind in (0, 1))
        return (
            f"`python -m pipeline grid --workers N --max-epoch {self.settings.grid_epochs}`: the {networks} published "
            "networks with SQLite store, evaluation, checkpoints, pictures and models, from the beginning of the first "
            "network to the end of the last. Runs this short spend a larger share on what comes once in a run than "
            f"the published {TrainingConfig.max_epoch} epochs do. The second worker makes it "
            f"{spread(self._gains(), '.2f')} times as fast. Medians of {len(self.memory)}, with least and most.\n\n"
            f"{markdown_table(rows, ['workers', 'seconds', 'networks a minute'])}\n\n"
            "The most memory that a worker has at any time while it trains, evaluates, draws and stores one network "
            f"with one hidden layer and one with two, looked at every {_LOOK_SECONDS} s. Its own is what would be free "
            "if it ended (unique set size); resident is that with what it shares with other workers, the mapped data "
            "among it.\n\n"
            f"{markdown_table([['MB', spread(own, '.0f'), spread(resident, '.0f')]], ['memory', 'own', 'resident'])}"
        )
