"""Becoming the one process that trains a network, while others may be doing the same."""

import json
import threading

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from pipeline.config import TrainingConfig
from pipeline.data import datasets
from pipeline.tracking import acquisition
from pipeline.tracking.store import Store
from pipeline.training.task import Task
from pipeline.training.trainer import train
from tests.pipeline.tracking.conftest import DEAD, ELSEWHERE, give, texts_of

QUICK = TrainingConfig(dataset="digits", learning_rate=0.1, init_std="he", max_epoch=1)


@pytest.fixture
def task(settings, store, tmp_path):
    fingerprint = QUICK.fingerprint(datasets.load("digits", settings.data_dir).digest)
    return Task(QUICK, fingerprint, store, None, settings.data_dir, tmp_path / "checkpoints")


@pytest.fixture
def begun(task):
    """A function that creates a RUNNING run of the network with these tags."""

    def begin(tags):
        tags = {"fingerprint": task.fingerprint, **tags}
        run = task.store.client.create_run(task.store.experiment_id, tags=tags, run_name=QUICK.name)
        return run.info.run_id

    return begin


def start(task, events=None, stop=None):
    return train(task, report=(events if events is not None else []).append, stop=stop or threading.Event())


def leftovers(run):
    return {"lease", "heartbeat", "reason", "continued_by"} & run.tags.keys()


@pytest.mark.parametrize("fact", ["host", "machine", "namespace"])
def test_a_network_that_another_machine_trains_is_left_alone(task, begun, fact):
    tags = texts_of("b", pid=1, **{fact: "elsewhere"})
    run_id = begun(tags)
    host = json.loads(tags["lease"])["host"]
    events = []

    class Renews(list):
        def append(self, event):
            events.append(event)
            give(task.store, run_id, {"heartbeat": "b 1"})

    outcome = start(task, Renews())
    assert outcome.status == "RUNNING"
    assert outcome.reason == (
        f"{QUICK.name} is being trained by process 1 on {host} (run {run_id}). "
        "Run the same command again when it has finished."
    )
    assert [event.text for event in events] == [
        f"process 1 on {host} may be training it; waits up to 120 s for a sign of life"
    ]
    assert task.store.get(run_id).status == "RUNNING"
    assert task.store.get(run_id).tags["lease"] == tags["lease"]


def test_a_sign_of_life_from_another_machine_is_not_waited_for_after_a_stop(task, begun):
    run_id = begun(ELSEWHERE)
    events = []

    class Stop(threading.Event):  # as a worker has it: what sets it sets no flag
        def is_set(self):
            return bool(events)

    assert start(task, events, Stop()).status == "KILLED"
    assert task.store.get(run_id).tags["lease"] == ELSEWHERE["lease"]


def test_a_network_whose_lease_on_another_machine_stays_unchanged_is_taken_over(task, begun, short_times):
    run_id = begun(ELSEWHERE)
    outcome = start(task)
    assert (outcome.status, outcome.run_id) == ("FINISHED", run_id)
    assert not leftovers(task.store.get(run_id))


@pytest.mark.parametrize(
    "tags",
    [{}, {"lease": "no JSON"}, {"lease": '{"pid": 1}'}, DEAD, DEAD | {"reason": "store out", "continued_by": "x"}],
    ids=["none", "not JSON", "lacks keys", "dead process", "dead process and its reason"],
)
def test_what_nobody_holds_is_taken_over_at_once_and_nothing_of_it_stays(task, begun, no_wait, tags):
    run_id = begun(tags)
    events = []
    outcome = start(task, events)
    assert (outcome.status, outcome.run_id) == ("FINISHED", run_id)
    assert "notice" not in [event.kind for event in events]
    assert not leftovers(task.store.get(run_id))


def strike_after(monkeypatch, method, blow):
    """Do something once, right after this process's next request of a kind."""
    patiently, blows = Store.patiently, [blow]

    def struck(store, name, *args, **kwargs):
        answer = patiently(store, name, *args, **kwargs)
        if name == method and blows:
            blows.pop()(answer)
        return answer

    monkeypatch.setattr(Store, "patiently", struck)


def test_of_two_machines_that_create_a_run_at_once_one_gives_way(task, begun, monkeypatch):
    others = []
    strike_after(monkeypatch, "create_run", lambda _run: others.append(begun(ELSEWHERE)))
    stop = threading.Event()
    stop.set()
    assert start(task, stop=stop).status == "KILLED"  # while it waits for the other
    assert [run.run_id for run in task.store.search("")] == others


def test_of_two_machines_that_take_over_at_once_the_last_has_it(task, begun, short_times, monkeypatch):
    run_id = begun(DEAD)
    notified = []

    def overwrite(_answer):
        give(task.store, run_id, ELSEWHERE)

    monkeypatch.setattr(acquisition, "_LOOK_SECONDS", 0.01)
    strike_after(monkeypatch, "set_tag", overwrite)

    class Renews(list):
        def append(self, event):
            notified.append(event.text)
            give(task.store, run_id, {"heartbeat": "b 1"})

    outcome = start(task, Renews())
    assert outcome.status == "RUNNING"
    assert "is being trained by process 17 on elsewhere" in outcome.reason
    assert task.store.get(run_id).tags["lease"] == ELSEWHERE["lease"]


def test_a_run_whose_creation_was_answered_twice_is_there_once(task, begun, monkeypatch):
    create, created = task.store.client.create_run, []

    def answer_lost_once(*args, **kwargs):
        created.append(create(*args, **kwargs))
        if len(created) == 1:
            raise MlflowException("the answer is lost", error_code=TEMPORARILY_UNAVAILABLE)
        return created[-1]

    monkeypatch.setattr(task.store.client, "create_run", answer_lost_once)
    outcome = start(task)
    assert outcome.status == "FINISHED"
    assert len(created) == 2
    assert [run.run_id for run in task.store.search("")] == [outcome.run_id]


@pytest.mark.parametrize("parent", ["at work", "finished", "dead", "deleted", "gone"])
def test_a_network_moves_to_the_next_parent_if_its_own_was_given_up(task, store, parent):
    network = acquisition.create(store, "a network", {}).run_id
    before = store.client.create_run(store.experiment_id, tags=DEAD if parent == "dead" else ELSEWHERE).info.run_id
    if parent == "finished":
        store.client.set_terminated(before)
    elif parent == "deleted":
        store.client.delete_run(before)
    elif parent == "gone":
        before = "0" * 32
    store.client.set_tag(network, "mlflow.parentRunId", before)
    acquisition.reparent(store, store.get(network), "next")
    assert store.get(network).parent_id == (before if parent in {"at work", "finished"} else "next")
