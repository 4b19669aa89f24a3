"""A tracking store with thousands of finished runs, to time what reads it: `python -m benchmarks.many_runs`.

The runs have the parameters, tags, data set, model and metrics that a training leaves; their figures are drawn around
the published ones. They go into MLflow's tables directly, in bulk: through its client, ten thousand take an hour.
"""

import math
import os
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from time import perf_counter
from typing import Any, Final

import click
import numpy as np

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import PUBLISHED_SIZES, TrainingConfig
from pipeline.experiments import grid, sweep
from pipeline.report import published
from pipeline.tracking.parents import command_run
from pipeline.tracking.store import Store
from pipeline.training.task import evaluation_split

DIGEST: Final = "25c98f992c005963b7428e1f38418b23"
"""Of MNIST, as `pipeline.data.datasets` computes it."""
SEEDS: Final = range(5)
_BULK: Final = 1000
_START: Final = 1_790_000_000_000
_STUDY: Final = "sigmoid-euclidean-1h"

Row = dict[str, Any]
Rows = defaultdict[str, list[Row]]
"""Rows by the name of the table."""


@dataclass(frozen=True)
class Network:
    """A finished run.

    Attributes:
        config: of the network.
        number: of the run, from 0.
        whole: whether it has a point every test_epoch epochs, not only its last ones.
    """

    config: TrainingConfig
    number: int
    whole: bool

    @property
    def run_id(self) -> str:
        """MLflow's, the same in every store."""
        return uuid.uuid5(uuid.NAMESPACE_OID, str(self.number)).hex

    @property
    def ended(self) -> int:
        """In milliseconds."""
        return _START + 60_000 * (self.number + 1)

    def tags(self, parents: Mapping[bool, str]) -> dict[str, str]:
        """What `Store.claim`, a training and a search set."""
        tags = {
            "fingerprint": self.config.fingerprint(DIGEST),
            "mlflow.user": "benchmark",
            "mlflow.source.name": "pipeline",
            "mlflow.source.type": "PROJECT",
            "mlflow.parentRunId": parents[self.config.validation],
            "mlflow.runName": self.config.name,
            "mlflow.note.content": f"{self.config.name} on {self.config.dataset}.",
        }
        trial = {"study": _STUDY, "trial": str(self.number), "trial_state": "COMPLETE"}
        return tags | trial if self.config.validation else tags

    def figures(self) -> dict[str, float]:
        """The final metrics: those published for the network, a little off."""
        random = np.random.default_rng(self.number)
        plain = replace(self.config, **{name: getattr(TrainingConfig, name) for name in _VARIED})
        known = published.find(self.config) or published.find(plain)
        figures = {"train_loss": 0.1, "test_loss": 0.1, "train_seconds": 60.0, **(known.metrics if known else {})}
        if self.config.loss == "softmax_cross_entropy":
            figures |= {name: 10 * figures[name] for name in ("train_loss", "test_loss")}
        part = evaluation_split(self.config)
        return {
            name.replace("test_", f"{part}_"): min(
                value * random.normal(1, 0.002), 1 if "accuracy" in name else math.inf
            )
            for name, value in figures.items()
        }

    def points(self) -> Iterator[tuple[str, float, int]]:
        """Name, value and step of each logged metric; the last of a name has its largest step."""
        figures, config, part = self.figures(), self.config, evaluation_split(self.config)
        batches = (50_000 if config.validation else 60_000) // config.batch_size
        epochs = range(config.test_epoch, config.max_epoch + 1, config.test_epoch) if self.whole else []
        for epoch in [*epochs, config.max_epoch] if config.max_epoch not in epochs else epochs:
            distance = math.exp(-4 * epoch / config.max_epoch) - math.exp(-4)
            yield f"{part}/accuracy", figures[f"{part}_accuracy"] * (1 - 0.3 * distance), epoch * batches
            yield f"{part}/loss", figures[f"{part}_loss"] * (1 + 3 * distance), epoch * batches
        last = config.max_epoch * batches
        yield "train/accuracy", figures["train_accuracy"], last
        yield "train/loss", figures["train_loss"], last
        yield from ((name, value, last) for name, value in figures.items())


_VARIED: Final = ("learning_rate", "weight_decay", "momentum", "batch_size", "max_epoch", "seed", "validation")


def networks(count: int) -> Iterator[Network]:
    """The published networks and studies, each with several seeds, then others with hyperparameters of their own."""
    every = {"hidden_sizes": ((128,), (256, 64)), "activations": ACTIVATIONS, "losses": LOSSES}
    known = [*grid(TrainingConfig(), seeds=SEEDS, **every), *sweep(TrainingConfig(), seeds=SEEDS)]  # type: ignore[arg-type]
    configs = islice(dict.fromkeys(chain(known, _others(count))), count)
    for number, config in enumerate(configs):
        yield Network(config, number, whole=number < len(known))


def _others(count: int) -> Iterator[TrainingConfig]:
    """Half are a search's trials, evaluated on validation images."""
    random = np.random.default_rng(0)
    for number in range(count):
        yield TrainingConfig(
            hidden_sizes=PUBLISHED_SIZES[int(random.integers(1, 3))],
            activation=str(random.choice(list(ACTIVATIONS))),
            loss=str(random.choice(list(LOSSES))),
            learning_rate=math.exp(random.uniform(math.log(0.001), math.log(0.3))),
            momentum=float(random.choice([0, 0.5, 0.9])),
            weight_decay=float(random.choice([0, 1e-5, 1e-4])),
            batch_size=int(random.choice([50, 100, 200])),
            max_epoch=10 * int(random.integers(5, 41)),
            seed=number % len(SEEDS),
            validation=number % 2 == 1,
        )


def rows(each: Network, store: Store, artifacts: str, parents: Mapping[bool, str], dataset: str) -> Rows:
    """All that MLflow's tables hold of a run."""
    run, made = each.run_id, Rows(list)
    experiment, started, folder = int(store.experiment_id), each.ended - 50_000, f"{artifacts}/{run}/artifacts"
    made["runs"] = [{"run_uuid": run, "name": each.config.name, "source_type": "UNKNOWN", "source_name": "",
        "entry_point_name": "", "user_id": "benchmark", "status": "FINISHED", "start_time": started,
        "end_time": each.ended, "deleted_time": None, "source_version": "", "lifecycle_stage": "active",
        "artifact_uri": folder, "experiment_id": experiment}]  # fmt: skip
    parameters = {**each.config.parameters(), "dataset_digest": DIGEST}
    made["params"] = [{"key": key, "value": value, "run_uuid": run} for key, value in parameters.items()]
    made["tags"] = [{"key": key, "value": value, "run_uuid": run} for key, value in each.tags(parents).items()]
    made["metrics"] = [
        {"key": key, "value": value, "timestamp": each.ended, "step": step, "is_nan": False, "run_uuid": run}
        for key, value, step in each.points()
    ]
    made["latest_metrics"] = list({row["key"]: row for row in made["metrics"]}.values())
    model, data_input, model_output = f"m-{run}", uuid.uuid4().hex, uuid.uuid4().hex
    made["logged_models"] = [{"model_id": model, "experiment_id": experiment, "name": "model",
        "artifact_location": f"{artifacts}/models/{model}/artifacts", "creation_timestamp_ms": each.ended,
        "last_updated_timestamp_ms": each.ended, "status": 2, "lifecycle_stage": "active",
        "source_run_id": run}]  # fmt: skip
    made["inputs"] = [
        {"input_uuid": data_input, "source_type": "DATASET", "source_id": dataset, "destination_type": "RUN",
         "destination_id": run, "step": 0},
        {"input_uuid": model_output, "source_type": "RUN_OUTPUT", "source_id": run,
         "destination_type": "MODEL_OUTPUT", "destination_id": model, "step": 0},
    ]  # fmt: skip
    made["input_tags"] = [{"input_uuid": data_input, "name": "mlflow.data.context", "value": "training"}]
    return made


def fill(store: Store, count: int) -> int:
    """Insert runs into an experiment that is open; returns how many rows they took."""
    from mlflow.store.db.base_sql_model import Base
    from sqlalchemy import create_engine, insert

    with (
        command_run(store, "grid mnist", {"runs": str(count)}) as nets,
        command_run(store, "search mnist", {}) as trials,
    ):
        parents = {False: nets.run_id, True: trials.run_id}
    artifacts = str(store.call("get_experiment", store.experiment_id).artifact_location)
    dataset, inserted, waiting = uuid.uuid4().hex, 0, networks(count)
    engine = create_engine(store.uri)
    with engine.begin() as connection:
        data = {"dataset_uuid": dataset, "experiment_id": int(store.experiment_id), "name": "mnist",
                "digest": DIGEST, "dataset_source_type": "local", "dataset_source": "data/mnist"}  # fmt: skip
        connection.execute(insert(Base.metadata.tables["datasets"]), [data])
        while part := list(islice(waiting, _BULK)):
            for table, some in _gathered([rows(each, store, artifacts, parents, dataset) for each in part]).items():
                connection.execute(insert(Base.metadata.tables[table]), some)
                inserted += len(some)
    engine.dispose()
    return inserted


def _gathered(parts: Sequence[Rows]) -> Rows:
    """Rows of many runs, still by table: runs first, which the others refer to."""
    together = Rows(list)
    for part in parts:
        for table, some in part.items():
            together[table] += some
    return together


@click.command()
@click.option("--store", "uri", required=True, help="Tracking store to make, as in sqlite:///many.db.")
@click.option("--runs", type=click.IntRange(min=1), default=10_000, show_default=True, help="Runs of networks.")
@click.option("--experiment", default="Default", show_default=True, help="Experiment that holds them.")
def main(uri: str, runs: int, experiment: str) -> None:
    """Make a tracking store with many finished runs of this project."""
    started = perf_counter()
    os.environ |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": experiment}
    store = Store.open()
    if next(store.search("tags.mlflow.user = 'benchmark'"), None):
        raise click.UsageError(f"{uri} has such runs in experiment {experiment!r} already; name a new store.")
    inserted = fill(store, runs)
    print(f"{runs} runs ({inserted} rows) in experiment {experiment!r} of {uri}, {perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
