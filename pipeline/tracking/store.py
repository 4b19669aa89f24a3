"""What the tracking store holds: runs, their histories, and links into MLflow's UI."""

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.redaction import redacted
from pipeline.tracking.connection import Connection

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

_log: Final = logging.getLogger(__name__)

PARENT_TAG: Final = "mlflow.parentRunId"
BEST_RUN_TAG: Final = "best_run"
"""On a search's run: the run of its best trial; beside it, under BASELINE_RUN_TAG, a test run of the baseline."""
BASELINE_RUN_TAG: Final = "baseline_run"
EARLY_STOP_TAG: Final = "early_stop"
"""On a run that was ended for good before its last epoch: no process goes on with it."""
NOTE_TAG: Final = "mlflow.note.content"
FINGERPRINT_TAG: Final = "fingerprint"
JOB_TAG: Final = "job"
_HYPERPARAMETERS: Final = ("hidden_sizes", "activation", "loss", "learning_rate", "max_epoch")
_RANKING: Final = {
    "runsHiddenMode": "SHOWALL",
    "orderByKey": "metrics.`test_accuracy`",
    "orderByAsc": False,
    "selectedColumns": [
        "attributes.`Models`",
        *(f"params.`{name}`" for name in _HYPERPARAMETERS),
        *(f"metrics.`{name}`" for name in ("test_accuracy", "train_accuracy", "train_seconds")),
    ],
}
"""A view of runs in MLflow's UI: what tells networks apart, the best first, and the curves of all."""
_OVERVIEW: Final = {
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "selectedColumns": [
        "attributes.`Created`",
        "attributes.`Duration`",
        *(f"metrics.`{name}`" for name in ("best_test_accuracy", "networks_finished", "networks_asked", "seconds")),
        *(f"metrics.`{name}`" for name in ("test_accuracy", "train_accuracy", "train_seconds")),
        *(f"params.`{name}`" for name in _HYPERPARAMETERS),
    ],
}
"""A view of an experiment in MLflow's UI: the results of commands, the latest first, with their networks below them."""


class Point(NamedTuple):
    """One value of a metric; `timestamp` in milliseconds since 1970, `step` in mini-batches seen."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow holds it; `metrics` are the last values."""

    run_id: str
    name: str
    status: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    start_time: int
    end_time: int | None

    @property
    def parent_id(self) -> str | None:
        """The run under which this one is folded."""
        return self.tags.get(PARENT_TAG)

    @property
    def description(self) -> str:
        """What `OwnedRun.describe` was given."""
        return self.tags.get(NOTE_TAG, "")


class Store(Connection):
    """The runs of an MLflow experiment.

    Example:
        >>> store = Store.open()
        >>> store.find_finished("0123abcd")  # None, or the run to reuse
    """

    def search(
        self, condition: str, order_by: Sequence[str] = ("attributes.start_time ASC",), *, page_size: int = 1000
    ) -> Iterator[TrackedRun]:
        """The experiment's runs, not the deleted ones, that fit an MLflow filter; read page by page."""
        token = None
        while True:
            page = self.call("search_runs", [self.experiment_id], condition, 1, page_size, list(order_by), token)
            yield from map(_tracked, page)
            token = page.token
            if not token:
                return

    def get(self, run_id: str) -> TrackedRun:
        """The run with this id."""
        return _tracked(self.call("get_run", run_id))

    def find(self, run_id: str) -> TrackedRun | None:
        """The run with this id; None if the experiment has none, or if it is deleted."""
        return next(self.search(f"attributes.run_id = '{run_id}'"), None)

    def is_over(self, run_id: str) -> bool:
        """Whether the experiment has this run, and it is finished or deleted."""
        everything = 3  # MLflow's ViewType.ALL
        condition = f"attributes.run_id = '{run_id}'"
        runs = self.call("search_runs", [self.experiment_id], condition, everything, 1)
        return any(run.info.status == "FINISHED" or run.info.lifecycle_stage == "deleted" for run in runs)

    def history(self, run_id: str, key: str) -> list[Point]:
        """Every point of a metric, by step."""
        metrics = self.call("get_metric_history", run_id, key)
        return sorted((Point(m.key, m.value, m.timestamp, m.step) for m in metrics), key=lambda point: point.step)

    def files(self, run_id: str, folder: str | None = None) -> list[str]:
        """The paths of a run's artifacts in a folder of them."""
        return [file.path for file in self.call("list_artifacts", run_id, folder)]

    def read_file(self, run_id: str, path: str) -> bytes:
        """The bytes of an artifact of a run."""
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.call("download_artifacts", run_id, path, folder)).read_bytes()

    def models(self, run_id: str) -> list["LoggedModel"]:
        """The models of a run; a completely stored model has the status READY."""
        return list(self.call("search_logged_models", [self.experiment_id], f"source_run_id = '{run_id}'"))

    def find_finished(self, fingerprint: str) -> TrackedRun | None:
        """The latest finished run of a network, or None.

        A run is passed over that lacks a final metric, or whose parameters have another fingerprint: a copied or
        foreign tag does not make it a finished training of this network.
        """
        condition = f"tags.fingerprint = '{fingerprint}' and attributes.status = 'FINISHED'"
        runs = self.search(condition, ("attributes.end_time DESC",), page_size=10)
        return next((run for run in runs if _has_results(run) and _has_parameters(run, fingerprint)), None)

    def link(self, run_id: str) -> str:
        """Where MLflow's UI shows a run: an address on a server, or for the pages of a UI that is started later."""
        server = f"{redacted(self.uri).rstrip('/')}/" if self.uri.startswith("http") else ""
        return f"{server}#/experiments/{self.experiment_id}/runs/{run_id}"

    def comparison(self, run_ids: Iterable[str]) -> str:
        """Where MLflow's UI compares runs: a link for its own pages."""
        runs, experiments = (quote(json.dumps(each)) for each in (list(run_ids), [self.experiment_id]))
        return f"#/compare-runs?runs={runs}&experiments={experiments}"

    def ranking(self, name: str, run_ids: Iterable[str]) -> str:
        """Have MLflow's UI keep a view of networks, the best first; returns where: a link for its own pages.

        Args:
            name: of the view, for its address.
            run_ids: of the networks.
        """
        chosen = ", ".join(f"'{run_id}'" for run_id in run_ids)
        return self._view(name, _RANKING | {"searchFilter": f"attributes.run_id IN ({chosen})"})

    def overview(self) -> str:
        """Have MLflow's UI keep a view of the experiment's commands; returns where: a link for its own pages."""
        return self._view("overview", _OVERVIEW)

    def _view(self, name: str, view: Mapping[str, object]) -> str:
        self.call("set_experiment_tag", self.experiment_id, f"mlflow.sharedViewState.{name}", json.dumps(view))
        return f"#/experiments/{self.experiment_id}/runs?viewStateShareKey={name}&workflowType=machine_learning"


def _has_results(run: TrackedRun) -> bool:
    split = "validation" if run.parameters.get("validation") == "True" else "test"
    names = [f"{part}_{kind}" for part in ("train", split) for kind in ("accuracy", "loss")]
    return all(name in run.metrics for name in [*names, "train_seconds"])


def _has_parameters(run: TrackedRun, fingerprint: str) -> bool:
    """Whether a run's parameters are those that its tag stands for; one line in the log if not."""
    with suppress(KeyError, ValueError, UsageError):
        config = TrainingConfig.from_parameters(run.parameters)
        if config.fingerprint(run.parameters["dataset_digest"]) == fingerprint:
            return True
    _log.info("Run %s (%s) is not reused: its parameters are not those of its fingerprint.", run.name, run.run_id)
    return False


def _tracked(run: "Run") -> TrackedRun:
    return TrackedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        parameters=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
        start_time=run.info.start_time,
        end_time=run.info.end_time,
    )
