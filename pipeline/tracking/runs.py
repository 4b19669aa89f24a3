"""A run that this process writes: its lease renewed, its metrics logged exactly once, its end."""

import gc
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.errors import Interrupted, PipelineError
from pipeline.tracking.connection import first_line
from pipeline.tracking.lease import LEASE_SECONDS, RENEWAL_SECONDS, is_here, lease_is_alive, new_lease
from pipeline.tracking.store import NOTE_TAG, Point, Store, TrackedRun

MODEL: Final = "model"
"""The name of every run's model: runs:/RUN/model."""
_METRICS_A_BATCH: Final = 1000  # MLflow's limit


@dataclass(frozen=True)
class DataLineage:
    """The data set that a run used, as MLflow's lineage shows it."""

    name: str
    digest: str
    source: str
    profile: str
    context: str


class Busy(PipelineError):  # noqa: N818 - a state, not a fault
    """Another living process trains this network."""


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
    def heartbeat(self) -> Iterator[None]:
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
            self._end("FAILED", first_line(error))
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
        lease = lease_of(self.store.get(self.run_id))
        if not is_here(lease) or lease["pid"] != os.getpid():
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
        new.sort(key=_evaluation_accuracy_first)
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
        self.tag(NOTE_TAG, markdown)

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


def _evaluation_accuracy_first(point: Point) -> tuple[bool, str]:
    """The order in which points are logged: MLflow's UI opens a comparison with the metric that came first."""
    return point.key.startswith("train"), point.key


def create_once(store: Store, name: str, tags: Mapping[str, str]) -> str:
    """Create a run; one that came to be although the answer was lost, so that it was asked for again, goes."""
    run_id = str(store.call("create_run", store.experiment_id, run_name=name, tags=dict(tags)).info.run_id)
    for run in list(store.search(f"tags.lease = '{tags['lease']}'")):
        if run.run_id != run_id:
            store.call("delete_run", run.run_id)
    return run_id


def log_parameters(store: Store, run_id: str, parameters: Mapping[str, str]) -> None:
    """Log parameters; MLflow refuses to change one that is logged."""
    from mlflow.entities import Param

    store.call("log_batch", run_id, params=[Param(key, value) for key, value in parameters.items()])


def lease_of(run: TrackedRun) -> dict[str, Any]:
    """The lease that a run carries; empty if it has none."""
    return dict(json.loads(run.tags.get("lease", "{}")))


def holds_living_lease(run: TrackedRun) -> bool:
    """Whether a living process holds the run."""
    return run.status == "RUNNING" and lease_is_alive(lease_of(run))


def source_tags() -> dict[str, str]:
    """MLflow's tags for who made a run, and from what."""
    import getpass

    return {"mlflow.user": getpass.getuser(), "mlflow.source.name": "pipeline", "mlflow.source.type": "PROJECT"}


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the collector of cycles from running: it finds none here, and costs as much time as the request itself."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
