"""A run that this process owns: its metrics logged exactly once, its end, and no write to it once it is another's."""

import gc
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import Interrupted, Lost, PipelineError
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

    def __init__(self, store: Store, run_id: str, held: Held) -> None:
        """Own `run_id`, whose lease has been written and settled."""
        self.store = store
        self.run_id = run_id
        self.logged: set[tuple[str, int]] = set()
        self._held = held
        self._guarded = _GuardedStore(store, held)
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
    ) -> None:
        """Log points, in as few requests as MLflow allows; those the store has are left out.

        Args:
            points: to log.
            model_id: of the model that they are metrics of, where it is one.
            data: name and digest of the data set that the model was measured on.
        """
        from mlflow.entities import Metric

        new = [point for point in points if (point.key, point.step) not in self.logged]
        new.sort(key=_evaluation_accuracy_first)
        for start in range(0, len(new), _METRICS_A_BATCH):
            part = new[start : start + _METRICS_A_BATCH]
            with _without_collection():
                metrics = [Metric(*point, model_id, *data) for point in part]
                self.write("log_batch", self.run_id, metrics=metrics)

    def history(self, key: str) -> list[Point]:
        """Every point of a metric that was sent, by step."""
        return self.store.history(self.run_id, key)

    def log_result(self, parameters: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log what a command came to; each is logged once, the metrics at step 0."""
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
        self.write("log_text", self.run_id, text, path)

    def log_networks(self, networks: Mapping[str, str]) -> None:
        """Store which runs belong to this command, also those that are folded under another one.

        Args:
            networks: the id of each run by what the command calls it; more come with a later call.
        """
        self._networks |= networks
        self.log_text(json.dumps(self._networks, indent=2), NETWORKS)

    def log_file(self, file: Path, folder: str | None = None) -> None:
        """Store a file as an artifact, in `folder` of the run's artifacts."""
        self.write("log_artifact", self.run_id, str(file), folder)

    def log_figure(self, figure: Any, path: str) -> None:
        """Store a matplotlib figure as an artifact."""
        self.write("log_figure", self.run_id, figure, path)

    def log_model(self, name: str, write: Callable[[Path, str], None], parameters: Mapping[str, str]) -> str:
        """Store the run's model, once however often the run is taken up; returns MLflow's id of it.

        Args:
            name: of the model, which makes it runs:/RUN/NAME.
            write: makes the model's folder, given its path and the model's id.
            parameters: of the network, as the model's page shows them.
        """
        from mlflow.entities import LoggedModelOutput

        whole = next((model for model in self.store.models(self.run_id) if model.status == "READY"), None)
        model_id = whole.model_id if whole else self._new_model(name, write, parameters)
        outputs = self.store.call("get_run", self.run_id).outputs
        if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            self.write("log_outputs", self.run_id, [LoggedModelOutput(model_id, step=0)])
        for model in self.store.models(self.run_id):
            if model.model_id != model_id:  # left half-stored by a process that was killed, or by an outage
                self.write("delete_logged_model", model.model_id)
        return model_id

    def _new_model(self, name: str, write: Callable[[Path, str], None], parameters: Mapping[str, str]) -> str:
        model = self.write("create_logged_model", self.store.experiment_id, name, self.run_id, params=dict(parameters))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, name)
            write(folder, model.model_id)
            self.write("log_model_artifacts", model.model_id, str(folder))
        self.write("finalize_logged_model", model.model_id, "READY")
        return str(model.model_id)

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
