"""Every MLflow call of the project: runs, their metrics exactly once, and who is at work on them.

A network's run is found by its *fingerprint* tag. While a process trains it, the run carries a *lease*: who trains it
and until when the claim holds without being renewed. A run whose lease is dead is taken over and goes on.
"""

import gc
import hashlib
import json
import logging
import os
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import psutil

from pipeline.errors import Interrupted, PipelineError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

MODEL: Final = "model"
"""The name of every run's model: runs:/RUN/model."""
LEASE_SECONDS: Final = 120.0
OUTAGE_SECONDS: Final = float(os.environ.get("PIPELINE_OUTAGE_SECONDS", "180"))
"""How long a store may be out before work on it stops."""
RENEWAL_SECONDS: Final = 30.0
_DYING_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.5
_METRICS_A_BATCH: Final = 1000  # MLflow's limit
_PARENT_TAG: Final = "mlflow.parentRunId"
_NOTE_TAG: Final = "mlflow.note.content"
_RANKING: Final = {
    "runsHiddenMode": "SHOWALL",
    "orderByKey": "metrics.`test_accuracy`",
    "orderByAsc": False,
    "selectedColumns": [
        "attributes.`Models`",
        *(f"params.`{name}`" for name in ("hidden_layers", "activation", "loss", "learning_rate", "max_epoch")),
        *(f"metrics.`{name}`" for name in ("test_accuracy", "train_accuracy", "train_seconds")),
    ],
}
"""A view of runs in MLflow's UI: what tells networks apart, the best first, and the curves of all."""
_leaving: Final = threading.Event()
_UNFINISHED: Final = ("RUNNING", "KILLED", "FAILED", "SCHEDULED")


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
        return self.tags.get(_PARENT_TAG)

    @property
    def description(self) -> str:
        """What `OwnedRun.describe` was given."""
        return self.tags.get(_NOTE_TAG, "")


@dataclass(frozen=True)
class DataLineage:
    """The data set that a run used, as MLflow's lineage shows it."""

    name: str
    digest: str
    source: str
    profile: str
    context: str


class ModelVersion(NamedTuple):
    """A version of a registered model."""

    version: str
    run_id: str
    tags: Mapping[str, str]


class AlreadyFinished(PipelineError):  # noqa: N818 - a state, not a fault
    """This network's run was finished while this process was about to train it."""


class Busy(PipelineError):  # noqa: N818 - a state, not a fault
    """Another living process trains this network."""


def leave() -> None:
    """Wait for no store that is out from now on: the user wants to go, and what is reached is kept."""
    _leaving.set()
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"


class Store:
    """An MLflow experiment in a tracking store; small enough to be sent to workers.

    Example:
        >>> store = Store.open()
        >>> store.find_finished("0123abcd")  # None, or the run to reuse
    """

    def __init__(self, uri: str, experiment_id: str) -> None:
        """Name the experiment; nothing is contacted until it is used."""
        self.uri = uri
        self.experiment_id = experiment_id

    @classmethod
    def open(cls) -> "Store":
        """The store and experiment that MLflow's environment variables name, its tables created where they lack.

        Raises:
            PipelineError: if the store does not answer, before any work is done.
        """
        _quiet()
        import mlflow
        from mlflow.exceptions import MlflowException

        uri = mlflow.get_tracking_uri()
        try:
            with _environment(MLFLOW_HTTP_REQUEST_TIMEOUT="5"), _translated():
                experiment_id = _experiment_id(_client(uri))
        except (MlflowException, OSError) as error:
            raise PipelineError(
                f"The tracking store {_without_password(uri)} cannot be used ({_first_line(error)}). "
                "Start it, or set MLFLOW_TRACKING_URI to one that answers."
            ) from error
        return cls(uri, experiment_id)

    @property
    def client(self) -> "MlflowClient":
        """This process's connection to the store."""
        _quiet()
        return _client(self.uri)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client, trying again while the store is out.

        Raises:
            PipelineError: if it stays out for OUTAGE_SECONDS, or refuses.
        """
        from mlflow.exceptions import MlflowException
        from tenacity import (
            Retrying,
            retry_if_exception,
            sleep_using_event,
            stop_after_delay,
            stop_when_event_set,
            wait_random_exponential,
        )

        attempts = Retrying(
            retry=retry_if_exception(self._passes),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=stop_after_delay(OUTAGE_SECONDS) | stop_when_event_set(_leaving),
            sleep=sleep_using_event(_leaving),
            reraise=True,
        )
        try:
            return attempts(self._attempt, method, *args, **kwargs)
        except (MlflowException, OSError) as error:
            raise PipelineError(
                f"The tracking store {_without_password(self.uri)} does not take {method} ({_first_line(error)}). "
                "Everything reached is kept: run the same command again when the store is well."
            ) from error

    def _attempt(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with _translated():
            return getattr(self.client, method)(*args, **kwargs)

    def _passes(self, error: BaseException) -> bool:
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException) or "disk" in str(error):
            return False
        remote = self.uri.startswith("http")
        return error.error_code == "TEMPORARILY_UNAVAILABLE" or (remote and error.error_code == "INTERNAL_ERROR")

    # Reading

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

    def history(self, run_id: str, key: str) -> list[Point]:
        """Every point of a metric, by step."""
        metrics = self.call("get_metric_history", run_id, key)
        return sorted((Point(m.key, m.value, m.timestamp, m.step) for m in metrics), key=lambda point: point.step)

    def models(self, run_id: str) -> list["LoggedModel"]:
        """The models of a run; one that is stored as a whole is READY."""
        return list(self.call("search_logged_models", [self.experiment_id], f"source_run_id = '{run_id}'"))

    def find_finished(self, fingerprint: str) -> TrackedRun | None:
        """The latest finished run of a network, or None."""
        condition = f"tags.fingerprint = '{fingerprint}' and attributes.status = 'FINISHED'"
        return next(self.search(condition, ("attributes.end_time DESC",), page_size=1), None)

    def served(self, uri: str) -> "ServedModel":
        """The model at `uri`, ready to answer.

        Raises:
            PipelineError: if there is none, or it is not one of this project.
        """
        import mlflow.pyfunc
        from mlflow.exceptions import MlflowException

        accepted = "it has to be runs:/RUN/model, models:/NAME/VERSION or models:/NAME@champion"
        try:
            with _translated():
                model = mlflow.pyfunc.load_model(uri)
        except (MlflowException, OSError) as error:
            raise PipelineError(f"model is {uri!r}, which cannot be had ({_first_line(error)}); {accepted}.") from error
        if "image_shape" not in model.model_config:
            raise PipelineError(f"model is {uri!r}, which is not one of this project's; {accepted}.")
        return ServedModel(model)

    def model_version(self, name: str, alias: str) -> ModelVersion | None:
        """The version of a registered model that has an alias, or None."""
        model = self._registered(name)
        if model is None or alias not in model.aliases:
            return None
        found = self.call("get_model_version", name, str(model.aliases[alias]))
        return ModelVersion(str(found.version), found.run_id, dict(found.tags))

    def _registered(self, name: str) -> Any:
        return next(iter(self.call("search_registered_models", f"name = '{name}'")), None)

    def comparison(self, run_ids: Iterable[str]) -> str:
        """Where MLflow's UI compares runs: a link for its own pages."""
        runs, experiments = (quote(json.dumps(each)) for each in (list(run_ids), [self.experiment_id]))
        return f"#/compare-runs?runs={runs}&experiments={experiments}"

    # Writing

    def ranking(self, name: str, run_ids: Iterable[str]) -> str:
        """Have MLflow's UI keep a view of networks, the best first; returns where: a link for its own pages.

        Args:
            name: of the view, for its address.
            run_ids: of the networks.
        """
        chosen = ", ".join(f"'{run_id}'" for run_id in run_ids)
        view = _RANKING | {"searchFilter": f"attributes.run_id IN ({chosen})"}
        self.call("set_experiment_tag", self.experiment_id, f"mlflow.sharedViewState.{name}", json.dumps(view))
        return f"#/experiments/{self.experiment_id}/runs?viewStateShareKey={name}"

    def register(self, name: str, run_id: str, tags: Mapping[str, str]) -> str:
        """Make a run's model a version of the registered model `name`, once; returns the version.

        Raises:
            PipelineError: if the run has no model.
        """
        if self._registered(name) is None:
            self.call("create_registered_model", name)
        [*known] = self.call("search_model_versions", f"name = '{name}' and run_id = '{run_id}'")
        if known:
            return str(known[0].version)
        model = next((model for model in self.models(run_id) if model.status == "READY"), None)
        if model is None:
            raise PipelineError(f"Run {run_id} has no model to register; train it again with -P force=true.")
        source = f"models:/{model.model_id}"
        version = self.call(
            "create_model_version", name, source, run_id=run_id, tags=dict(tags), model_id=model.model_id
        )
        return str(version.version)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias of a registered model to a version."""
        self.call("set_registered_model_alias", name, alias, version)

    def adopt(self, run: TrackedRun, parent_id: str) -> None:
        """Fold `run` under another parent, if the one it has came to no good end."""
        if run.parent_id == parent_id:
            return
        if run.parent_id is None or self._given_up(run.parent_id):
            self.call("set_tag", run.run_id, _PARENT_TAG, parent_id)

    def _given_up(self, run_id: str) -> bool:
        run = self.get(run_id)
        return run.status in _UNFINISHED and not _alive(run)

    def claim(
        self,
        fingerprint: str,
        *,
        name: str,
        parent_id: str | None,
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
        lineage: DataLineage,
        lock: Path,
        unless: Callable[[], bool],
        notify: Callable[[str], None],
        stop: threading.Event,
    ) -> "OwnedRun":
        """Become the one process that trains a network: go on with its unfinished run, or create one.

        Args:
            fingerprint: the network's.
            name: of the run, where it is created.
            parent_id: the run to fold it under.
            parameters: logged where the run is created.
            tags: set on the run.
            lineage: logged where the run is created.
            lock: a file that the processes of this machine share.
            unless: whether nothing is left to do; asked where no other process of this machine can come between.
            notify: told where it takes time to see whether a process of another machine lives.
            stop: once set, that is waited for no longer.

        Raises:
            AlreadyFinished: if `unless` says so.
            Busy: if another living process has it.
            Interrupted: on `stop`.
            PipelineError: if the store stays out.
        """
        from filelock import FileLock

        lock.parent.mkdir(parents=True, exist_ok=True)
        seen: Mapping[str, Any] | None = None
        patience = time.monotonic() + _DYING_SECONDS
        while True:
            with FileLock(lock):
                unfinished = self._unfinished(fingerprint)
                if unfinished is None:
                    if unless():
                        raise AlreadyFinished(name)
                    return self._create(fingerprint, name, parent_id, parameters, tags, lineage)
                if not _alive(unfinished):
                    owned = self._take_over(unfinished, parent_id, tags)
                    self._describe(owned.run_id, parameters, lineage)
                    return owned
            lease = _lease(unfinished)
            holder = f"process {lease['pid']} on {lease['host']}"
            renewed = seen is not None and lease != seen
            if renewed or (_is_here(lease) and time.monotonic() > patience):
                raise Busy(
                    f"{unfinished.name} is being trained by {holder} (run {unfinished.run_id}). "
                    "Run the same command again when it has finished."
                )
            if seen is None and not _is_here(lease):
                notify(f"{holder} may be training it; waits up to {LEASE_SECONDS:.0f} s for a sign of life")
            seen = lease
            time.sleep(_LOOK_SECONDS)
            if stop.is_set():
                raise Interrupted(f"stopped while {holder} may be training it")

    def _unfinished(self, fingerprint: str) -> TrackedRun | None:
        runs = self.search(f"tags.fingerprint = '{fingerprint}' and attributes.status != 'FINISHED'")
        return next(iter(runs), None)

    def _create(
        self,
        fingerprint: str,
        name: str,
        parent_id: str | None,
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
        lineage: DataLineage,
    ) -> "OwnedRun":
        every_tag = {"fingerprint": fingerprint, "lease": new_lease(), **_source_tags(), **tags}
        if parent_id:
            every_tag[_PARENT_TAG] = parent_id
        run_id = self._create_once(name, every_tag)
        self._describe(run_id, parameters, lineage)
        return OwnedRun(self, run_id, set())

    def _create_once(self, name: str, tags: Mapping[str, str]) -> str:
        """Create a run; one that came to be although the answer was lost, so that it was asked for again, goes."""
        run_id = str(self.call("create_run", self.experiment_id, run_name=name, tags=dict(tags)).info.run_id)
        for run in list(self.search(f"tags.lease = '{tags['lease']}'")):
            if run.run_id != run_id:
                self.call("delete_run", run.run_id)
        return run_id

    def _take_over(self, run: TrackedRun, parent_id: str | None, tags: Mapping[str, str]) -> "OwnedRun":
        lease = new_lease()
        self.call("set_tag", run.run_id, "lease", lease)
        if (before := _lease(run)) and not _is_here(before):
            time.sleep(2)  # two machines may have seen the lease end at once: the one that wrote last has it
            if self.get(run.run_id).tags.get("lease") != lease:
                raise Busy(f"{run.name} (run {run.run_id}) was taken up by another machine at the same moment.")
        self.call("update_run", run.run_id, status="RUNNING")
        for key, value in tags.items():
            self.call("set_tag", run.run_id, key, value)
        if "reason" in run.tags:
            self.call("delete_tag", run.run_id, "reason")
        if parent_id:
            self.adopt(run, parent_id)
        owned = OwnedRun(self, run.run_id, set())
        owned.logged = {(point.key, point.step) for key in run.metrics for point in self.history(run.run_id, key)}
        return owned

    def _describe(self, run_id: str, parameters: Mapping[str, str], lineage: DataLineage) -> None:
        self._log_parameters(run_id, parameters)
        OwnedRun(self, run_id, set()).log_dataset(lineage)

    @contextmanager
    def parent(self, name: str, parameters: Mapping[str, str], *, within: str | None = None) -> Iterator["OwnedRun"]:
        """The run that stands for a whole command, RUNNING inside the `with` and ended after it.

        It is the run that `mlflow run` created, the one that an interrupted command of the same parameters left
        behind, or a new one; `within` folds it under another run.
        """
        job = hashlib.sha256(json.dumps([name, dict(parameters)], sort_keys=True).encode()).hexdigest()[:32]
        self._reap()
        run_id = None if within else os.environ.get("MLFLOW_RUN_ID")
        if run_id:
            self.call("update_run", run_id, name=name)
        else:
            run_id = self._left_behind(job) or self._new_parent(name, job)
            self._log_parameters(run_id, parameters)
        for key, value in {"job": job, "lease": new_lease(), **({_PARENT_TAG: within} if within else {})}.items():
            self.call("set_tag", run_id, key, value)
        owned = OwnedRun(self, run_id, set())
        with owned.held():
            try:
                yield owned
            except (Interrupted, KeyboardInterrupt):
                with suppress(PipelineError):
                    self._reap()  # a worker that could not stop in time was killed
                raise

    def _left_behind(self, job: str) -> str | None:
        runs = self.search(f"tags.job = '{job}' and attributes.status != 'FINISHED'")
        run_id = next((run.run_id for run in runs if not _alive(run)), None)
        if run_id:
            self.call("update_run", run_id, status="RUNNING")
        return run_id

    def _new_parent(self, name: str, job: str) -> str:
        tags = {"job": job, "lease": new_lease(), **_source_tags()}  # at once: killed after this, it can be found again
        return self._create_once(name, tags)

    def _log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        self.call("log_batch", run_id, params=[Param(key, value) for key, value in parameters.items()])

    def _reap(self) -> None:
        """Mark as KILLED what dead processes left RUNNING."""
        for run in list(self.search("attributes.status = 'RUNNING' and tags.lease LIKE '%'")):
            if not _alive(run):
                self.call("set_terminated", run.run_id, "KILLED")


class ServedModel:
    """A network as others get it, by `mlflow.pyfunc`.

    Attributes:
        model_id: MLflow's.
        image_shape: rows and columns of the images that it takes.
    """

    def __init__(self, model: Any) -> None:
        """Wrap what `mlflow.pyfunc.load_model` gave."""
        rows, columns = model.model_config["image_shape"]
        self.image_shape = (int(rows), int(columns))
        self.model_id = str(model.model_id)
        self._model = model

    def predict(self, images: Any) -> tuple[list[int], list[list[float]]]:
        """The class of each image and the scores of all classes.

        Raises:
            PipelineError: naming the images that are expected.
        """
        from mlflow.exceptions import MlflowException

        try:
            answers = self._model.predict(images)
        except MlflowException as error:
            raise PipelineError(_first_line(error)) from error
        return answers["class"].tolist(), answers["scores"].tolist()


class OwnedRun:
    """A run that this process holds the lease of.

    Attributes:
        run_id: MLflow's id.
        logged: the (metric, step) pairs that the store already has; they are not sent again.
    """

    def __init__(self, store: Store, run_id: str, logged: set[tuple[str, int]]) -> None:
        """Hold `run_id`, whose lease has been written."""
        self.store = store
        self.run_id = run_id
        self.logged = logged
        self._renewed = time.time()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Renew the lease inside the `with`; end the run by how it is left: FINISHED, KILLED or FAILED."""
        done = threading.Event()
        renewal = threading.Thread(target=self._keep, args=(done,), daemon=True, name="lease")
        renewal.start()
        try:
            yield
        except (Interrupted, KeyboardInterrupt) as error:
            self._end("KILLED", str(error))
            raise
        except BaseException as error:
            self._end("FAILED", _first_line(error))
            raise
        else:
            self.end("FINISHED")
        finally:
            done.set()

    def _keep(self, done: threading.Event) -> None:
        while not done.wait(RENEWAL_SECONDS):
            try:
                self.store.client.set_tag(self.run_id, "lease", new_lease())
                self._renewed = time.time()
            except Exception:  # noqa: BLE001, S112 - an outage: the next renewal may get through
                continue

    def check(self) -> None:
        """Make sure that nobody took the run over while this process slept.

        Raises:
            Busy: if somebody did.
        """
        if time.time() - self._renewed < LEASE_SECONDS:
            return
        lease = _lease(self.store.get(self.run_id))
        if not _is_here(lease) or lease["pid"] != os.getpid():
            raise Busy(f"Run {self.run_id} was taken over by process {lease.get('pid')} on {lease.get('host')}.")
        self.store.call("set_tag", self.run_id, "lease", new_lease())
        self._renewed = time.time()

    def send(self, points: Iterable[Point], *, model_id: str | None = None) -> None:
        """Log points, in as few requests as MLflow allows; those the store has are left out.

        Args:
            points: to log.
            model_id: of the model that they tell about, where it is one.
        """
        from mlflow.entities import Metric

        self.check()
        new = [point for point in points if (point.key, point.step) not in self.logged]
        new.sort(key=_held_out_accuracy_first)
        for start in range(0, len(new), _METRICS_A_BATCH):
            part = new[start : start + _METRICS_A_BATCH]
            with _without_collection():
                metrics = [Metric(*point, model_id=model_id) for point in part]
                self.store.call("log_batch", self.run_id, metrics=metrics)

    def history(self, key: str) -> list[Point]:
        """Every point of a metric that was sent, by step."""
        return self.store.history(self.run_id, key)

    def log_result(self, parameters: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log what a command came to; each is logged once, the metrics at step 0."""
        from mlflow.entities import Metric, Param

        self.store.call(
            "log_batch",
            self.run_id,
            metrics=[Metric(key, value, 0, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in parameters.items()],
        )

    def tag(self, key: str, value: str) -> None:
        """Set a tag."""
        self.store.call("set_tag", self.run_id, key, value)

    def describe(self, markdown: str) -> None:
        """Set the description that the MLflow UI shows on the run's page."""
        self.tag(_NOTE_TAG, markdown)

    def log_dataset(self, lineage: DataLineage) -> None:
        """Log the data set that the run uses."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(lineage.name, lineage.digest, "local", lineage.source, profile=lineage.profile)
        tag = InputTag("mlflow.data.context", lineage.context)
        self.store.call("log_inputs", self.run_id, [DatasetInput(data, [tag])])

    def log_used_model(self, model_id: str) -> None:
        """Log the model that the run uses."""
        from mlflow.entities import LoggedModelInput

        self.store.call("log_inputs", self.run_id, models=[LoggedModelInput(model_id)])

    def log_text(self, text: str, path: str) -> None:
        """Store a text as an artifact."""
        self.store.call("log_text", self.run_id, text, path)

    def log_file(self, file: Path, folder: str | None = None) -> None:
        """Store a file as an artifact, in `folder` of the run's artifacts."""
        self.store.call("log_artifact", self.run_id, str(file), folder)

    def log_figure(self, figure: Any, path: str) -> None:
        """Store a matplotlib figure as an artifact."""
        self.store.call("log_figure", self.run_id, figure, path)

    def log_model(self, write: Callable[[Path, str], None], parameters: Mapping[str, str]) -> str:
        """Store the run's model, once however often the run is taken up; returns MLflow's id of it.

        Args:
            write: makes the model's folder, given its path and the model's id.
            parameters: of the network, as the model's page shows them.
        """
        from mlflow.entities import LoggedModelOutput

        whole = next((model for model in self.store.models(self.run_id) if model.status == "READY"), None)
        model_id = whole.model_id if whole else self._new_model(write, parameters)
        outputs = self.store.call("get_run", self.run_id).outputs
        if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            self.store.call("log_outputs", self.run_id, [LoggedModelOutput(model_id, step=0)])
        for model in self.store.models(self.run_id):
            if model.model_id != model_id:  # left half-stored by a process that was killed, or by an outage
                self.store.call("delete_logged_model", model.model_id)
        return model_id

    def _new_model(self, write: Callable[[Path, str], None], parameters: Mapping[str, str]) -> str:
        model = self.store.call(
            "create_logged_model", self.store.experiment_id, MODEL, self.run_id, params=dict(parameters)
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, MODEL)
            write(folder, model.model_id)
            self.store.call("log_model_artifacts", model.model_id, str(folder))
        self.store.call("finalize_logged_model", model.model_id, "READY")
        return str(model.model_id)

    def end(self, status: str, reason: str | None = None) -> None:
        """End the run; `reason` says why it is not FINISHED."""
        if reason:
            self.tag("reason", reason[:5000])
        self.store.call("set_terminated", self.run_id, status)
        self.store.call("delete_tag", self.run_id, "lease")  # last: a run left RUNNING is known by its lease to be dead

    def _end(self, status: str, reason: str) -> None:
        try:
            self.end(status, reason)
        except PipelineError:
            return  # the store is out: the lease runs out by itself, and the fault on its way up says more


def _held_out_accuracy_first(point: Point) -> tuple[bool, str]:
    """The order in which points are logged: MLflow's UI opens a comparison with the metric that came first."""
    return point.key.startswith("train"), point.key


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


def new_lease() -> str:
    """This process's claim, from now on for LEASE_SECONDS."""
    return json.dumps(
        {
            **_place(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "expires": time.time() + LEASE_SECONDS,
        }
    )


def _lease(run: TrackedRun) -> dict[str, Any]:
    return dict(json.loads(run.tags.get("lease", "{}")))


def _alive(run: TrackedRun) -> bool:
    """Whether a living process holds the run."""
    return run.status == "RUNNING" and lease_is_alive(_lease(run))


@cache
def _place() -> dict[str, str]:
    """Where this process runs; process ids mean the same only where all of this is the same.

    Its machine by two names, as many are called alike, the start of that machine, and the container on it.
    """
    place = {"host": socket.gethostname()}
    files = {"machine": "/etc/machine-id", "boot": "/proc/sys/kernel/random/boot_id"}
    for part, file in files.items():
        with suppress(OSError):  # not Linux, or a container without it
            place[part] = Path(file).read_text().strip()
    with suppress(OSError):
        place["processes"] = str(Path("/proc/self/ns/pid").readlink())
    return place


def _is_here(lease: Mapping[str, Any], *parts: str) -> bool:
    """Whether a lease was written where this process runs, as far as these parts of `_place` tell; or all of them."""
    place = _place()
    return all(lease.get(part) == place.get(part) for part in parts or place)


def _is_from_before_this_machine_started(lease: Mapping[str, Any]) -> bool:
    known = bool(_place().get("machine"))
    return known and _is_here(lease, "host", "machine") and not _is_here(lease, "boot")


def lease_is_alive(lease: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a lease lives: known at once on this machine, by the lease's end on another."""
    if not lease or _is_from_before_this_machine_started(lease):
        return False
    if not _is_here(lease):
        return bool(lease["expires"] > time.time())
    try:
        process = psutil.Process(lease["pid"])
        return bool(process.create_time() == lease["started"] and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _source_tags() -> dict[str, str]:
    import getpass

    return {"mlflow.user": getpass.getuser(), "mlflow.source.name": "pipeline", "mlflow.source.type": "PROJECT"}


@cache
def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


@contextmanager
def _translated() -> Iterator[None]:
    """Make MLflow's own error of a database's, as MLflow does once it has opened it."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except OperationalError as error:
        raise MlflowException(_first_line(error), error_code=TEMPORARILY_UNAVAILABLE) from error


def _experiment_id(client: "MlflowClient") -> str:
    if experiment_id := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return str(client.get_experiment(experiment_id).experiment_id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    experiment = client.get_experiment_by_name(name)
    return str(experiment.experiment_id if experiment else client.create_experiment(name))


@cache
def _quiet() -> None:
    """Keep MLflow's chatter and telemetry off, and its own retries: `Store.call` tries again for all stores alike."""
    for key, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(key, value)
    if "PIPELINE_VERBOSE" not in os.environ:
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
        warnings.filterwarnings("ignore", module=r"(mlflow|sqlalchemy|alembic|pydantic)\b")
        for library in ("mlflow", "alembic", "sqlalchemy"):
            logging.getLogger(library).setLevel(logging.CRITICAL)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the collector of cycles from running: it finds none here, and costs as much time as the request itself."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _without_password(uri: str) -> str:
    from urllib.parse import urlsplit

    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri
