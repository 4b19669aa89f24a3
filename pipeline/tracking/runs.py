"""A run that this process owns: its metrics logged exactly once, its end, and no write to it once it is another's."""

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
from pipeline.redaction import without_secrets
from pipeline.tracking.artifacts import upload
from pipeline.tracking.connection import first_line
from pipeline.tracking.lease import Held
from pipeline.tracking.store import NOTE_TAG, Point, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

NETWORKS: Final = "networks.json"
"""Among a command's artifacts: the ids of its networks' runs by their names."""
CONTINUED_TAG: Final = "continued_by"
"""On a command's run that was left behind: the run of the command that goes on instead."""
_METRICS_A_BATCH: Final = 1000  # MLflow's limit
_LONGEST_REASON: Final = 5000


@dataclass(frozen=True)
class DataLineage:
    """The data set that a run used, as MLflow's lineage shows it."""

    name: str
    digest: str
    source: str
    profile: str
    context: str


class RunRecord:
    """The tags of a run as the record of its lease (`lease.Record`)."""

    def __init__(self, call: Callable[..., Any], run_id: str) -> None:
        """Use `call`, such as `Store.call`, for every request: it is given the name of a client's method first."""
        self._call = call
        self._run_id = run_id

    def read(self) -> Mapping[str, str]:
        """The run's tags."""
        tags: Mapping[str, str] = self._call("get_run", self._run_id).data.tags
        return tags

    def write(self, key: str, text: str) -> None:
        """Set a tag, or remove it, if the text is empty."""
        if text:
            self._call("set_tag", self._run_id, key, text)
            return
        try:
            self._call("delete_tag", self._run_id, key)
        except Exception:  # MLflow refuses to remove what is not there, such as after an answer that was lost
            if key in self.read():
                raise


class _GuardedStore(Store):
    """The store as the owner of a run writes to it: each attempt of each request first checks the lease."""

    def __init__(self, store: Store, held: Held) -> None:
        super().__init__(store.uri, store.experiment_id)
        self._held = held

    @property
    def client(self) -> "MlflowClient":
        """The connection, for one attempt.

        Raises:
            Lost: if the run is another's.
        """
        self._held.check()
        return super().client


class OwnedRun:
    """A run that this process holds the lease of.

    Attributes:
        run_id: MLflow's id.
        logged: the (metric, step) pairs that the store already has; they are not sent again.
    """

    def __init__(self, store: Store, run_id: str, held: Held, artifact_uri: str = "") -> None:
        """Own `run_id`, whose lease has been written and settled.

        Args:
            store: where the run is.
            run_id: MLflow's id.
            held: its lease.
            artifact_uri: where its artifacts go, if this process has just created the run. Nothing has to be read of
                such a run, because it holds what was sent here and nothing else.
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
        """Make a request without a second attempt: who renews a lease tries again by itself."""
        return getattr(self.store.client, method)(*args, **kwargs)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Renew the lease inside the `with`; end the run by how it is left: FINISHED, KILLED or FAILED.

        Raises:
            Lost: from any write inside, if another process has taken the run over; nothing more is written to it.
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

    def forget(self) -> None:
        """Let this process take the run again, if it does not work on it; nothing is written."""
        self._held.forget()

    @contextmanager
    def forgotten_on_error(self) -> Iterator[None]:
        """Call `forget` if what is done inside the `with`, before the heartbeat, fails."""
        try:
            yield
        except BaseException:
            self.forget()
            raise

    def check(self) -> None:
        """Make sure that the run is still this process's; called before a write that does not go to the store.

        Raises:
            Lost: if it is not.
            PipelineError: if that has to be asked, and the store stays out.
        """
        if self._held.is_due:
            self._guarded.call("get_run", self.run_id)

    def resume(self) -> None:
        """Make a run that was left by another process RUNNING again, and take away what that one left in its tags."""
        self.write("update_run", self.run_id, status="RUNNING")
        record = RunRecord(self.write, self.run_id)
        for tag in {"reason", CONTINUED_TAG} & record.read().keys():
            record.write(tag, "")

    def write(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client, which writes to this run.

        Raises:
            Lost: if the run is another's.
            PipelineError: if the store stays out, or refuses.
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
        """Log points, in as few requests as MLflow allows; those the store has are left out.

        Args:
            points: to log.
            model_id: of the model that some of them are metrics of, where there is one.
            data: name and digest of the data set that the model was measured on.
            of_model: the metrics of the model.
            tags: to set in the same request.
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
        """Every point of a metric that was sent, by step."""
        if self._sent is None:
            return self.store.history(self.run_id, key)
        return sorted((point for point in self._sent if point.key == key), key=lambda point: point.step)

    def log_result(self, parameters: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log the result of a command: each parameter and metric once, the metrics at step 0."""
        from mlflow.entities import Metric, Param

        self.write(
            "log_batch",
            self.run_id,
            metrics=[Metric(key, value, 0, 0) for key, value in metrics.items()],
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
        self.tag(NOTE_TAG, markdown)

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
            file.write_text(without_secrets(text), encoding="utf-8")

    def log_networks(self, networks: Mapping[str, str]) -> None:
        """Store which runs belong to this command, also those that are folded under another one.

        Args:
            networks: the id of each run by what the command calls it; more come with a later call.
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
        """A file to be written inside the `with`, which then becomes the artifact `path`."""
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
        """Store the run's model, once however often the run is taken up; returns MLflow's id of it.

        Args:
            name: of the model, which makes it runs:/RUN/NAME.
            write: makes the model's folder, given its path and the model's id.
            parameters: of the network, as the model's page shows them.
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
        """Store the model of a run that has none: nothing has to be looked up."""
        from mlflow.entities import LoggedModelOutput

        model_id, may_be_two = self._new_model(name, write, parameters)
        self.write("log_outputs", self.run_id, [LoggedModelOutput(model_id, step=0)])
        if may_be_two:
            self._delete_models_but(model_id)
        return model_id

    def _delete_models_but(self, model_id: str) -> None:
        """Delete what was left half-stored by a process that was killed, or by an outage."""
        for model in self.store.models(self.run_id):
            if model.model_id != model_id:
                self.write("delete_logged_model", model.model_id)

    def _new_model(
        self, name: str, write: Callable[[Path, str], None], parameters: Mapping[str, str]
    ) -> tuple[str, bool]:
        """The id of a new model of the run, and whether there may be a second one."""
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
        """End the run and release it; `reason` says why it is not FINISHED."""
        self._end(self.write, status, reason)
        self._held.forget()

    def _end(self, call: Callable[..., Any], status: str, reason: str) -> None:
        record = RunRecord(call, self.run_id)
        if not self._has_ended:
            if reason:
                record.write("reason", reason[:_LONGEST_REASON])
            call("set_terminated", self.run_id, status)
            self._has_ended = True
        self._held.release(record)  # last: a run left RUNNING is known by its lease to be dead

    def _end_or_give_up(self, status: str, reason: str) -> None:
        try:
            self.end(status, reason)
        except Lost:
            return
        except PipelineError:  # the store is out; the fault on its way up says more
            self._held.give_up(partial(self._end, self._at_once, status, reason))


def _evaluation_accuracy_first(point: Point) -> tuple[bool, str]:
    """The order in which points are logged: MLflow's UI opens a comparison with the metric that came first."""
    return point.key.startswith("train"), point.key


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the collector of cycles from running: it finds none here, and costs as much time as the request itself."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
