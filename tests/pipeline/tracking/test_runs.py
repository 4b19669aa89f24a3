"""A run's owner: what it writes while its lease is its own, and that it writes nothing afterwards."""

import threading

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from pipeline.errors import Interrupted, Lost, PipelineError
from pipeline.tracking import connection, lease
from pipeline.tracking.acquisition import create, settled, take_lease
from pipeline.tracking.store import Point
from tests.pipeline.tracking.conftest import ELSEWHERE, give

POINTS = [Point("test/accuracy", 0.5, 1000, 15)]


@pytest.fixture
def owned(store):
    return create(store, "relu", {"fingerprint": "f"})


@pytest.fixture
def stopped(owned, monkeypatch):
    """A function after which this process was stopped for longer than it may write without asking."""

    def stop():
        later = lease.Clock().now() + lease.HOLD_SECONDS
        monkeypatch.setattr(lease.Clock, "now", lambda _clock: later)

    return stop


def snapshot(store, run_id):
    """All of a run in the store."""
    run = store.client.get_run(run_id)
    histories = {key: store.history(run_id, key) for key in run.data.metrics}
    artifacts = [file.path for file in store.client.list_artifacts(run_id)]
    return (run.info.status, run.info.end_time, run.data.tags, run.data.params, histories, artifacts,
            store.models(run_id))  # fmt: skip


def write_model(folder, _model_id):
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.send(POINTS),
        lambda run: run.tag("a", "b"),
        lambda run: run.describe("text"),
        lambda run: run.log_text("text", "a.txt"),
        lambda run: run.log_parameters({"a": "b"}),
        lambda run: run.log_result({"a": "b"}, {"c": 1.0}),
        lambda run: run.log_networks({"relu": "1"}),
        lambda run: run.log_model("a-network", write_model, {}),
        lambda run: run.end("FINISHED"),
        lambda run: run.end("FAILED", "reason"),
        lambda run: run.check(),
    ],
    ids=[
        "metrics",
        "tag",
        "description",
        "text",
        "parameters",
        "result",
        "networks",
        "model",
        "end",
        "failure",
        "checkpoint",
    ],
)
def test_whoever_was_stopped_and_lost_the_run_writes_nothing_more(owned, store, stopped, write):
    give(store, owned.run_id, ELSEWHERE)
    before = snapshot(store, owned.run_id)
    stopped()
    with pytest.raises(Lost) as lost:
        write(owned)
    assert str(lost.value) == (
        f"Run relu ({owned.run_id}) was taken over by process 17 on elsewhere; this process writes nothing more to it."
    )
    assert snapshot(store, owned.run_id) == before


def test_texts_on_a_run_have_no_control_characters(owned, store):
    text = "| a | b |\nname \x1b[2J\u202e"
    owned.describe(text)
    owned.log_text(text, "a.txt")
    expected = "| a | b |\nname \\x1b[2J\\u202e"
    assert store.get(owned.run_id).description == expected
    assert store.read_file(owned.run_id, "a.txt").decode() == expected


@pytest.mark.parametrize("ending", [None, Interrupted("stopped"), PipelineError("fault")])
def test_the_end_of_a_lost_run_is_not_written_either(owned, store, stopped, ending):
    give(store, owned.run_id, ELSEWHERE)
    before = snapshot(store, owned.run_id)
    with pytest.raises(Lost if ending is None else type(ending)), owned.heartbeat():
        stopped()
        if ending:
            raise ending
    assert snapshot(store, owned.run_id) == before


def test_whoever_was_stopped_and_kept_the_run_goes_on(owned, store, stopped):
    with owned.heartbeat():
        stopped()
        owned.check()
        owned.send(POINTS)
    run = store.get(owned.run_id)
    assert run.status == "FINISHED"
    assert store.history(owned.run_id, "test/accuracy") == POINTS
    assert not {"lease", "heartbeat"} & run.tags.keys()


@pytest.fixture
def outage(monkeypatch):
    """A store that can be out; `outage.begin()`, `outage.end()`; `outage.asked` is set at each request meanwhile."""

    class Outage:
        is_out = False
        spared = None
        asked = threading.Event()

        def begin(self):
            self.is_out = True

        def end(self):
            self.is_out = False

    out = Outage()
    whole = mlflow.MlflowClient.__getattribute__

    def attribute(client, name):
        if out.is_out and threading.current_thread() is not out.spared and not name.startswith("_"):
            out.asked.set()
            raise MlflowException("out", error_code=TEMPORARILY_UNAVAILABLE)
        return whole(client, name)

    monkeypatch.setattr(mlflow.MlflowClient, "__getattribute__", attribute)
    return out


def test_a_request_that_is_tried_again_after_an_outage_asks_first_whose_the_run_is(owned, store, stopped, outage):
    failures = []

    def write():
        try:
            owned.send(POINTS)
        except Lost as error:
            failures.append(error)

    outage.begin()
    writer = threading.Thread(target=write)
    writer.start()  # its lease is fresh: it does not ask
    assert outage.asked.wait(60)
    stopped()
    outage.spared = threading.current_thread()  # another machine, which reaches the store
    give(store, owned.run_id, ELSEWHERE)
    outage.end()
    writer.join(60)
    assert len(failures) == 1
    assert store.history(owned.run_id, "test/accuracy") == []


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "OUTAGE_SECONDS", 0.1)


def test_what_was_given_up_in_an_outage_is_ended_when_the_store_is_back(owned, store, outage, impatient, monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.05)
    with pytest.raises(PipelineError), owned.heartbeat():
        outage.begin()
        owned.send(POINTS)
    outage.end()
    for thread in [thread for thread in threading.enumerate() if thread.name == "lease"]:
        thread.join(60)
    run = store.get(owned.run_id)
    assert run.status == "FAILED"
    assert "out" in run.tags["reason"]
    assert not {"lease", "heartbeat"} & run.tags.keys()


def test_what_was_given_up_in_an_outage_is_taken_again_by_the_same_process_and_not_ended_then(
    owned, store, outage, impatient, monkeypatch, no_wait
):
    with pytest.raises(PipelineError), owned.heartbeat():
        outage.begin()
        owned.send(POINTS)
    outage.end()
    run = store.get(owned.run_id)
    again = settled(store, run, take_lease(store, run))
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.01)
    with pytest.raises(Lost):
        owned._held.renew()  # what its thread does next
    again.send(POINTS)
    assert store.get(owned.run_id).status == "RUNNING"
    again.end("FINISHED")


def test_a_run_that_is_finished_stays_so_when_its_release_fails(owned, store, outage, impatient, monkeypatch):
    call = owned.write

    def out_after_the_end(method, *args, **kwargs):
        answer = call(method, *args, **kwargs)
        if method == "set_terminated":
            outage.begin()
        return answer

    monkeypatch.setattr(owned, "write", out_after_the_end)
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.05)
    with pytest.raises(PipelineError), owned.heartbeat():
        pass
    outage.end()
    for thread in [thread for thread in threading.enumerate() if thread.name == "lease"]:
        thread.join(60)
    run = store.get(owned.run_id)
    assert run.status == "FINISHED"
    assert not {"lease", "heartbeat", "reason"} & run.tags.keys()


def test_networks_of_several_calls_are_kept_together(owned, store, tmp_path):
    owned.log_networks({"relu": "1"})
    owned.log_networks({"gelu": "2"})
    assert mlflow.artifacts.load_dict(store.client.get_run(owned.run_id).info.artifact_uri + "/networks.json") == {
        "relu": "1",
        "gelu": "2",
    }
