"""How near the dense limit a training comes, alone and with all that a run is, and what tracking costs."""

from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Final

from benchmarks.processes import Process, cores
from benchmarks.section import Figure, Section, at_least, at_most, counted, spread
from benchmarks.trainings import PARTS, Alone, Tracked, train_alone, train_tracked
from pipeline.config import PUBLISHED_SIZES, TrainingConfig
from pipeline.display.tables import markdown_table
from tests.servers import mlflow_server

LOSS: Final = "softmax_cross_entropy"
_SQLITE, _SERVER = "SQLite", "mlflow server"


def _network(activation: str, loss: str, hidden_sizes: tuple[int, ...] = (128,)) -> TrainingConfig:
    return TrainingConfig(activation=activation, loss=loss, hidden_sizes=hidden_sizes)


_RELU: Final = [
    _network("relu", "euclidean"),
    _network("relu", LOSS),
    _network("relu", "hinge"),
    _network("relu", LOSS, hidden_sizes=(256, 64)),
]
_GELU: Final = [_network("gelu", LOSS), _network("gelu", LOSS, hidden_sizes=(256, 64))]


class DenseLimits(Section):
    """Trainings without evaluation and tracking."""

    title = "Share of the dense limit"

    def open(self, stack: ExitStack) -> None:
        """Start a process on one core and bring it into its steady state."""
        self.say("starting this project's own trainings")
        self.process = Process(cores()[:1])
        stack.callback(self.process.close)
        self.samples: dict[TrainingConfig, list[Alone]] = {network: [] for network in [*_RELU, *_GELU]}
        for network in self.samples:
            self._train(network, 1)

    def _train(self, network: TrainingConfig, epochs: int) -> Alone:
        config = replace(network, dataset=self.settings.dataset, max_epoch=epochs)
        return self.process.run(train_alone, config, self.settings.data_dir)

    def measure(self) -> None:
        """Every network once."""
        for network, samples in self.samples.items():
            self.say(f"training alone: {network.name}")
            samples.append(self._train(network, self.settings.epochs))

    def ratio(self, hidden_layers: int) -> float:
        """GELU's time divided by ReLU's."""
        relu, gelu = (
            median(each.seconds for each in self.samples[_network(activation, LOSS, PUBLISHED_SIZES[hidden_layers])])
            for activation in ("relu", "gelu")
        )
        return gelu / relu

    def figures(self) -> list[Figure]:
        """The least share among the ReLU networks, and what GELU costs."""
        least = min(median(each.share for each in self.samples[network]) for network in _RELU)
        text = "training alone: share of the dense limit, ReLU, the least of four networks"
        layers = {1: "one hidden layer", 2: "two hidden layers"}
        return [
            at_least(text, least, 0.9, ".0%"),
            *(at_most(f"GELU's time divided by ReLU's, {layers[n]}", self.ratio(n), 1.15, ".2f") for n in layers),
        ]

    def markdown(self) -> str:
        """The table."""
        rows = [
            [
                network.name,
                spread([each.seconds for each in samples], ".3f"),
                spread([each.share for each in samples], ".1%"),
            ]
            for network, samples in self.samples.items()
        ]
        table = markdown_table(rows, ["network", "seconds an epoch", "share of the dense limit"])
        return (
            "`model.fit` in one process, one thread, pinned to one core, "
            f"{counted(self.settings.epochs, 'epoch')}. The dense limit is the rate of a large float32 product in the "
            "same process, measured before and after each training; the products of a network are counted as if all "
            f"its inputs were dense. Medians of {self.settings.rounds}, with least and most. "
            f"GELU takes {self.ratio(1):.2f} times as long as ReLU with one hidden layer, {self.ratio(2):.2f} times "
            f"with two.\n\n{table}"
        )


class TrackedRuns(Section):
    """Whole runs, evaluation and tracking included."""

    title = "Evaluation, tracking and checkpoints included"
    every = 2

    def open(self, stack: ExitStack) -> None:
        """Start a process on one core and have it import everything, which a worker does once for all its networks."""
        self.say("starting this project's tracked runs")
        self.process = Process(cores()[:1])
        stack.callback(self.process.close)
        self.folder = self.settings.folder / "tracked"
        self.folder.mkdir()
        self.sqlite: dict[TrainingConfig, list[Tracked]] = {network: [] for network in _RELU}
        self.server: list[Tracked] = []
        self._run(_network("relu", LOSS), "sqlite:///mlflow.db", 1)

    def _run(self, network: TrainingConfig, uri: str, epochs: int) -> Tracked:
        config = replace(network, dataset=self.settings.dataset, max_epoch=epochs)
        return self.process.run(train_tracked, config, self.settings.data_dir, uri, self.folder)

    def measure(self) -> None:
        """Every ReLU network with the SQLite store, one of them with a server."""
        for network, samples in self.sqlite.items():
            self.say(f"tracked run, SQLite: {network.name}")
            samples.append(self._run(network, "sqlite:///mlflow.db", self.settings.whole_epochs))
        self.say(f"tracked run, mlflow server: {_network('relu', LOSS).name}")
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command = ["server", *store, "--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1"]
        with mlflow_server(*command, log=self.folder / "server.log", answering="/health") as address:
            self._run(_network("relu", LOSS), address, 1)
            self.server.append(self._run(_network("relu", LOSS), address, self.settings.whole_epochs))

    def figures(self) -> list[Figure]:
        """The least share of the dense limit, and the cost of tracking with both stores."""
        least = min(median(each.share for each in samples) for samples in self.sqlite.values())
        text = "evaluation and tracking included: share of the dense limit, the least of four networks"
        cost = "tracking and checkpoints as a share of training time"
        return [
            at_least(text, least, 0.87, ".0%"),
            at_most(f"{cost}, SQLite", _cost(self.sqlite[_network("relu", LOSS)]), 0.025, ".1%"),
            at_most(f"{cost}, `mlflow server`", _cost(self.server), 0.04, ".1%"),
        ]

    def markdown(self) -> str:
        """A table of the runs, and one of where their time goes."""
        runs = [(network.name, _SQLITE, samples) for network, samples in self.sqlite.items()]
        runs.append((_network("relu", LOSS).name, _SERVER, self.server))
        rows = [
            [
                name,
                store,
                f"{median(each.training for each in samples):.1f}",
                f"{median(each.seconds for each in samples):.1f}",
                spread([each.share for each in samples], ".1%"),
                spread([each.tracking for each in samples], ".1%"),
            ]
            for name, store, samples in runs
        ]
        headers = ["network", "store", "training, s", "whole run, s", "share of the dense limit", "tracking"]
        return (
            "What `python -m pipeline train` does with a network, "
            f"{counted(self.settings.whole_epochs, 'epoch')}, from the creation of its run to its end, in "
            f"one process pinned to one core: training, evaluation every {TrainingConfig.test_epoch} epochs and at the "
            "end, metrics, checkpoints, pictures, the stored model. The process has imported everything before, "
            "which a worker does once for all its networks. *Tracking* is all but training and evaluation, as a share "
            "of training time. The server is `mlflow server --host 127.0.0.1` with SQLite behind it, on the "
            f"same machine. Medians of {len(self.server)}, with least and most.\n\n"
            f"{markdown_table(rows, headers)}\n\nWhere the time beside training goes, in seconds a run:\n\n"
            f"{_table_of_parts({f'{name}, {store}': samples for name, store, samples in runs})}"
        )


def _cost(samples: list[Tracked]) -> float:
    return median(each.tracking for each in samples)


def _table_of_parts(runs: dict[str, list[Tracked]]) -> str:
    rows = []
    for name, samples in runs.items():
        parts = [median(each.parts[part] for each in samples) for part in PARTS]
        rest = median(each.seconds - each.training - sum(each.parts.values()) for each in samples)
        rows.append([name, *(f"{part:.2f}" for part in [*parts, rest])])
    return markdown_table(rows, ["network", *PARTS, "rest"])
