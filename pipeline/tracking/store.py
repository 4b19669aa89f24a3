"""Queries of the tracking store: runs, their metric histories, artifacts and models, and links into MLflow's UI."""

import json
import logging
import re
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
"""The tag of a search's run that has the id of its best trial's run; BASELINE_RUN_TAG has that of a baseline's run."""
BASELINE_RUN_TAG: Final = "baseline_run"
EARLY_STOP_TAG: Final = "early_stop"
"""The tag of a run that was stopped early on purpose; no process resumes such a run."""
NOTE_TAG: Final = "mlflow.note.content"
FINGERPRINT_TAG: Final = "fingerprint"
JOB_TAG: Final = "job"
_RUN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What can be the id of a run; a tag or the name of a folder, which others may write, can be anything."""
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
"""A view of networks in MLflow's UI, the best first: hyperparameters, results and the curves of all."""
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
"""A view of an experiment in MLflow's UI: the results of commands, the latest first, each above its networks."""


class Point(NamedTuple):
    """One value of a metric; `timestamp` is in milliseconds since 1970, `step` in mini-batches seen."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow has it; `metrics` has the last value of each metric, and times are in milliseconds since 1970."""

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
        """The id of the parent run, or None."""
        return self.tags.get(PARENT_TAG)

    @property
    def description(self) -> str:
        """The markdown that `OwnedRun.describe` set."""
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
        """Find the experiment's runs that match an MLflow filter, except deleted ones; pages are read one by one."""
        token = None
        while True:
            page = self.call("search_runs", [self.experiment_id], condition, 1, page_size, list(order_by), token)
            yield from map(_tracked, page)
            token = page.token
            if not token:
                return

    def get(self, run_id: str) -> TrackedRun:
        """Return the run with this id."""
        return _tracked(self.call("get_run", run_id))

    def find(self, run_id: str) -> TrackedRun | None:
        """Return the run with this id, or None if the experiment does not have it or it is deleted."""
        return next(self.search(f"attributes.run_id = '{run_id}'"), None) if _RUN_ID.fullmatch(run_id) else None

    def is_over(self, run_id: str) -> bool:
        """Whether the experiment has a run with this id that is finished or deleted."""
        if not _RUN_ID.fullmatch(run_id):
            return False
        everything = 3  # MLflow's ViewType.ALL
        condition = f"attributes.run_id = '{run_id}'"
        runs = self.call("search_runs", [self.experiment_id], condition, everything, 1)
        return any(run.info.status == "FINISHED" or run.info.lifecycle_stage == "deleted" for run in runs)

    def history(self, run_id: str, key: str) -> list[Point]:
        """Return all points of a metric, in the order of their steps."""
        metrics = self.call("get_metric_history", run_id, key)
        return sorted((Point(m.key, m.value, m.timestamp, m.step) for m in metrics), key=lambda point: point.step)

    def files(self, run_id: str, folder: str | None = None) -> list[str]:
        """List the paths of a run's artifacts in `folder`; by default, in the root of its artifacts."""
        return [file.path for file in self.call("list_artifacts", run_id, folder)]

    def read_file(self, run_id: str, path: str) -> bytes:
        """Return the bytes of a run's artifact."""
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.call("download_artifacts", run_id, path, folder)).read_bytes()

    def models(self, run_id: str) -> list["LoggedModel"]:
        """Return the models of a run; a model whose files are complete has the status READY."""
        return list(self.call("search_logged_models", [self.experiment_id], f"source_run_id = '{run_id}'"))

    def find_finished(self, fingerprint: str) -> TrackedRun | None:
        """Return the latest finished run of a network, or None.

        A run is skipped if it lacks a final metric, or if its parameters have another fingerprint, because somebody may
        have copied the tag from another run.
        """
        condition = f"tags.fingerprint = '{fingerprint}' and attributes.status = 'FINISHED'"
        runs = self.search(condition, ("attributes.end_time DESC",), page_size=10)
        return next((run for run in runs if _has_results(run) and _has_parameters(run, fingerprint)), None)

    def link(self, run_id: str) -> str:
        """Return the address of a run in MLflow's UI: complete on a server, otherwise relative to the UI's address."""
        server = f"{redacted(self.uri).rstrip('/')}/" if self.uri.startswith("http") else ""
        return f"{server}#/experiments/{self.experiment_id}/runs/{run_id}"

    def comparison_link(self, run_ids: Iterable[str]) -> str:
        """Return the address at which MLflow's UI compares runs, relative to the UI's pages."""
        runs, experiments = (quote(json.dumps(each)) for each in (list(run_ids), [self.experiment_id]))
        return f"#/compare-runs?runs={runs}&experiments={experiments}"

    def ranking_link(self, name: str, run_ids: Iterable[str]) -> str:
        """Save a view of networks for MLflow's UI, the best first; return its address, relative to the UI's pages.

        Args:
            name: the view's name, which is part of its address.
            run_ids: the ids of the networks' runs.
        """
        chosen = ", ".join(f"'{run_id}'" for run_id in run_ids)
        return self._view(name, _RANKING | {"searchFilter": f"attributes.run_id IN ({chosen})"})

    def overview_link(self) -> str:
        """Save a view of the experiment's commands for MLflow's UI; return its address, relative to the UI's pages."""
        return self._view("overview", _OVERVIEW)

    def _view(self, name: str, view: Mapping[str, object]) -> str:
        self.call("set_experiment_tag", self.experiment_id, f"mlflow.sharedViewState.{name}", json.dumps(view))
        return f"#/experiments/{self.experiment_id}/runs?viewStateShareKey={name}&workflowType=machine_learning"


def _has_results(run: TrackedRun) -> bool:
    split = "validation" if run.parameters.get("validation") == "True" else "test"
    names = [f"{part}_{kind}" for part in ("train", split) for kind in ("accuracy", "loss")]
    return all(name in run.metrics for name in [*names, "train_seconds"])


def _has_parameters(run: TrackedRun, fingerprint: str) -> bool:
    """Whether a run's parameters have the fingerprint in its tag; if not, a line in the log says so."""
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
