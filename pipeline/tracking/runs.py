"""A run that this process owns: every point is logged once, and nothing is written after another process took over."""

import gc
import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import Interrupted, Lost, PipelineError
from pipeline.output import printable
from pipeline.redaction import without_secrets
from pipeline.tracking.artifacts import upload
from pipeline.tracking.connection import first_line
from pipeline.tracking.lease import Held
from pipeline.tracking.store import NOTE_TAG, Point, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

NETWORKS: Final = "networks.json"
"""The artifact of a command's run that has the ids of its networks' runs, by the networks' names."""
CONTINUED_TAG: Final = "continued_by"
"""The tag of a command's abandoned run that has the id of the run with which the command goes on."""
_METRICS_A_BATCH: Final = 1000  # MLflow's limit
_LONGEST_REASON: Final = 5000


@dataclass(frozen=True)
class DataLineage:
    """The data set that a run used, as MLflow shows it."""

    name: str
    digest: str
    source: str
    profile: str
    context: str


class RunRecord:
    """The record in which a run keeps its lease (`lease.Record`): the tags of the run."""

    def __init__(self, call: Callable[..., Any], run_id: str) -> None:
        """Make every request through `call`, which takes the name of a method of MLflow's client and its arguments."""
        self._call = call
        self._run_id = run_id

    def read(self) -> Mapping[str, str]:
        """Return the run's tags."""
        tags: Mapping[str, str] = self._call("get_run", self._run_id).data.tags
        return tags

    def write(self, key: str, text: str) -> None:
        """Set a tag, or remove the tag if the text is empty."""
        if text:
            self._call("set_tag", self._run_id, key, text)
            return
        try:
            self._call("delete_tag", self._run_id, key)
        except Exception:  # MLflow refuses to remove a missing tag, as in a retry after a lost answer
            if key in self.read():
                raise


class _GuardedStore(Store):
    """The store as the owner of a run uses it: every attempt of every request first checks the lease."""

    def __init__(self, store: Store, held: Held) -> None:
        super().__init__(store.uri, store.experiment_id)
        self._held = held

    @property
    def client(self) -> "MlflowClient":
        """The MLflow client for one attempt.

        Raises:
            Lost: another process has taken the run over.
        """
        self._held.check()
        return super().client


class OwnedRun:
    """A run whose lease this process holds.

    Attributes:
        run_id: the run's id in MLflow.
        logged: the (metric, step) pairs that the store already has; `send` skips them.
    """

    def __init__(self, store: Store, run_id: str, held: Held, artifact_uri: str = "") -> None:
        """Own `run_id`, whose lease this process has written and `Held.settle` has confirmed.

        Args:
            store: the store of the run.
            run_id: the run's id in MLflow.
            held: the run's lease.
            artifact_uri: the location of the run's artifacts if this process has just created the run. Such a run is
                not read from the store, because it contains only what this object sent.
        """
        self.store = store
        self.run_id = run_id
        self.logged: set[tuple[str, int]] = set()
        self._held = held
        self._guarded = _GuardedStore(store, held)
        self._artifact_uri = artifact_uri
        self._sent: list[Point] | None = [] if artifact_uri else None
        self._has_ended = False
        self._networks: dict[str, str] = {}
        held.record = RunRecord(self._at_once, run_id)

    def _at_once(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make a request without retries, because the thread that renews the lease tries again by itself."""
        return getattr(self.store.client, method)(*args, **kwargs)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Renew the lease inside the `with`; then end the run as FINISHED, or after an exception as KILLED or FAILED.

        Raises:
            Lost: another process has taken the run over. Every write inside the `with` can raise this.
        """
        with self._held.kept():
            try:
                yield
                self.end("FINISHED")
            except Lost:
                raise
            except (Interrupted, KeyboardInterrupt) as error:
                self._end_or_give_up("KILLED", str(error))
                raise
            except BaseException as error:
                self._end_or_give_up("FAILED", first_line(error))
                raise

    def stop_renewing(self) -> None:
        """Stop renewing without writing anything, so that this process can acquire the run again at once."""
        self._held.stop_renewing()

    @contextmanager
    def stop_renewing_on_error(self) -> Iterator[None]:
        """Call `stop_renewing` if the code inside the `with` fails; this is for code that comes before `heartbeat`."""
        try:
            yield
        except BaseException:
            self.stop_renewing()
            raise

    def check(self) -> None:
        """Make sure that this process still owns the run, before a write that does not go to the store.

        Raises:
            Lost: another process has taken the run over.
            PipelineError: the lease has to be read again, but the store stays unavailable.
        """
        if self._held.is_due:
            self._guarded.call("get_run", self.run_id)

    def resume(self) -> None:
        """Make an unfinished run RUNNING again, and remove its tags `reason` and `continued_by`."""
        self.write("update_run", self.run_id, status="RUNNING")
        record = RunRecord(self.write, self.run_id)
        for tag in {"reason", CONTINUED_TAG} & record.read().keys():
            record.write(tag, "")

    def write(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client that writes to this run.

        Raises:
            Lost: another process has taken the run over.
            PipelineError: the store stays unavailable, or refuses the request.
        """
        return self._guarded.call(method, *args, **kwargs)

    def send(
        self,
        points: Iterable[Point],
        *,
        model_id: str | None = None,
        data: tuple[str | None, str | None] = (None, None),
        of_model: Collection[str] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log points in as few requests as MLflow allows; points that the store already has are skipped.

        Args:
            points: the points to log.
            model_id: the id of the model that the metrics in `of_model` belong to, or None.
            data: name and digest of the data set on which the model was evaluated.
            of_model: names of the metrics that belong to the model.
            tags: tags to set in the same request.
        """
        from mlflow.entities import Metric, RunTag

        every_tag = [RunTag(key, value) for key, value in (tags or {}).items()]
        of = (model_id, *data)
        new = [point for point in points if (point.key, point.step) not in self.logged]
        new.sort(key=_evaluation_accuracy_first)
        if self._sent is not None:
            self._sent += new
        for start in range(0, max(len(new), len(every_tag)), _METRICS_A_BATCH):
            part = new[start : start + _METRICS_A_BATCH]
            with _without_collection():
                metrics = [Metric(*point, *(of if point.key in of_model else ())) for point in part]
                self.write("log_batch", self.run_id, metrics=metrics, tags=every_tag)

    def history(self, key: str) -> list[Point]:
        """Return all points of a metric, in the order of their steps."""
        if self._sent is None:
            return self.store.history(self.run_id, key)
        return sorted((point for point in self._sent if point.key == key), key=lambda point: point.step)

    def log_result(self, parameters: Mapping[str, Any], metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Log the result of a command: parameters, and metrics at a step, which is after those logged on the way."""
        from mlflow.entities import Metric, Param

        self.write(
            "log_batch",
            self.run_id,
            metrics=[Metric(key, value, 0, step) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in parameters.items()],
        )

    def tag(self, key: str, value: str) -> None:
        """Set a tag."""
        self.write("set_tag", self.run_id, key, value)

    def log_parameters(self, parameters: Mapping[str, str]) -> None:
        """Log parameters; MLflow refuses to change one that is logged."""
        from mlflow.entities import Param

        self.write("log_batch", self.run_id, params=[Param(key, value) for key, value in parameters.items()])

    def describe(self, markdown: str) -> None:
        """Set the description that the MLflow UI shows on the run's page."""
        self.tag(NOTE_TAG, printable(without_secrets(markdown)))

    def log_dataset(self, lineage: DataLineage) -> None:
        """Log the data set that the run uses."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(lineage.name, lineage.digest, "local", lineage.source, profile=lineage.profile)
        tag = InputTag("mlflow.data.context", lineage.context)
        self.write("log_inputs", self.run_id, [DatasetInput(data, [tag])])

    def log_used_model(self, model_id: str) -> None:
        """Log the model that the run uses."""
        from mlflow.entities import LoggedModelInput

        self.write("log_inputs", self.run_id, models=[LoggedModelInput(model_id)])

    def log_text(self, text: str, path: str) -> None:
        """Store a text as an artifact."""
        with self._to_upload(path) as file:
            file.write_text(printable(without_secrets(text)), encoding="utf-8")

    def log_networks(self, networks: Mapping[str, str]) -> None:
        """Store the ids of all runs of this command's networks, including runs with another parent.

        Args:
            networks: the ids of runs by the command's names for them; they are added to those of earlier calls.
        """
        self._networks |= networks
        self.log_text(json.dumps(self._networks, indent=2), NETWORKS)

    def log_file(self, file: Path, folder: str | None = None) -> None:
        """Store a file as an artifact, in `folder` of the run's artifacts."""
        self._upload(file, folder)

    def log_figure(self, figure: Any, path: str) -> None:
        """Store a matplotlib figure as an artifact."""
        with self._to_upload(path) as file:
            figure.savefig(file)

    @contextmanager
    def _to_upload(self, path: str) -> Iterator[Path]:
        """Yield the path of a temporary file, which becomes the artifact `path` after the `with`."""
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary, PurePosixPath(path).name)
            yield file
            folder = PurePosixPath(path).parent
            self._upload(file, str(folder) if folder.name else None)

    def _upload(self, file: Path, folder: str | None) -> None:
        if not self._artifact_uri:
            self._artifact_uri = str(self.store.call("get_run", self.run_id).info.artifact_uri)
        self._put(f"of run {self.run_id}", self._artifact_uri, file, folder)

    def _put(self, what: str, uri: str, local: Path, folder: str | None = None) -> None:
        def request() -> None:
            self._held.check()
            upload(self.store, uri, local, folder)

        self.store.artifact_request(what, request)

    def log_model(self, name: str, write: Callable[[Path, str], None], parameters: Mapping[str, str]) -> str:
        """Store the run's model, unless the run already has a complete one; return the model's id in MLflow.

        Args:
            name: the model's name; runs:/RUN/NAME is then its URI.
            write: creates the model's folder, given the folder's path and the model's id.
            parameters: the network's parameters, for the model's page.
        """
        from mlflow.entities import LoggedModelOutput

        if self._sent is not None:
            return self._only_model(name, write, parameters)
        intact = next((model for model in self.store.models(self.run_id) if model.status == "READY"), None)
        model_id = intact.model_id if intact else self._new_model(name, write, parameters)[0]
        outputs = self.store.call("get_run", self.run_id).outputs
        if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            self.write("log_outputs", self.run_id, [LoggedModelOutput(model_id, step=0)])
        self._delete_models_but(model_id)
        return model_id

    def _only_model(self, name: str, write: Callable[[Path, str], None], parameters: Mapping[str, str]) -> str:
        """Store the model of a run that this process created; no earlier model has to be looked up."""
        from mlflow.entities import LoggedModelOutput

        model_id, may_be_two = self._new_model(name, write, parameters)
        self.write("log_outputs", self.run_id, [LoggedModelOutput(model_id, step=0)])
        if may_be_two:
            self._delete_models_but(model_id)
        return model_id

    def _delete_models_but(self, model_id: str) -> None:
        """Delete the run's other models, which a killed process or an outage left incomplete."""
        for model in self.store.models(self.run_id):
            if model.model_id != model_id:
                self.write("delete_logged_model", model.model_id)

    def _new_model(
        self, name: str, write: Callable[[Path, str], None], parameters: Mapping[str, str]
    ) -> tuple[str, bool]:
        """Create a model and store its files; return its id, and whether there may be a second model."""
        model, may_be_two = self._guarded.create(
            "create_logged_model", self.store.experiment_id, name, self.run_id, params=dict(parameters)
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, name)
            write(folder, model.model_id)
            self._put(f"of model {model.model_id}", model.artifact_location, folder)
        self.write("finalize_logged_model", model.model_id, "READY")
        return str(model.model_id), may_be_two

    def end(self, status: str, reason: str = "") -> None:
        """End the run and release its lease; `reason` says why the run is not FINISHED."""
        self._end(self.write, status, reason)
        self._held.stop_renewing()

    def _end(self, call: Callable[..., Any], status: str, reason: str) -> None:
        record = RunRecord(call, self.run_id)
        if not self._has_ended:
            if reason:
                record.write("reason", reason[:_LONGEST_REASON])
            call("set_terminated", self.run_id, status)
            self._has_ended = True
        self._held.release(record)  # last, because the lease of a RUNNING run shows that its process is dead

    def _end_or_give_up(self, status: str, reason: str) -> None:
        try:
            self.end(status, reason)
        except Lost:
            return
        except PipelineError:  # the store is unavailable; the error that is being raised says more
            self._held.give_up(partial(self._end, self._at_once, status, reason))


def _evaluation_accuracy_first(point: Point) -> tuple[bool, str]:
    """Sort evaluation metrics before training metrics, because MLflow's UI compares runs by the metric logged first."""
    return point.key.startswith("train"), point.key


@contextmanager
def _without_collection() -> Iterator[None]:
    """Switch off Python's cyclic garbage collector, because it finds nothing here but takes as long as the request."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
