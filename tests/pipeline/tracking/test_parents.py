"""Which run stands for a command: given by the launcher, left behind by the same command, or new."""

import pytest

from pipeline.errors import Interrupted, Lost, UsageError
from pipeline.tracking import lease
from pipeline.tracking.parents import command_run
from tests.pipeline.tracking.conftest import DEAD, ELSEWHERE, give

VALUES = {"dataset": "digits", "learning_rate": "0.1", "force": "False"}
TYPED = {"dataset": "digits", "learning_rate": "1e-1", "force": "false", "workers": ""}
HOW_TO_GO_ON = "Unset MLFLOW_RUN_ID to have a new run created."

pytestmark = pytest.mark.usefixtures("no_wait")


@pytest.fixture
def launched(store, monkeypatch):
    """A function that does what MLflow's launcher does before it starts a command."""

    def launch(name="whimsical-newt-1", tags=None):
        run = store.client.create_run(store.experiment_id, run_name=name, tags=tags)
        for key, value in TYPED.items():
            store.client.log_param(run.info.run_id, key, value)
        monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
        return run.info.run_id

    return launch


def run_command(store, values=VALUES, name="grid digits"):
    with command_run(store, name, values) as run:
        return run.run_id


def stopped(store, values=VALUES):
    """A command that was stopped by its user; returns its run and its network's."""
    with pytest.raises(Interrupted), command_run(store, "grid digits", values) as run:
        tags = {"mlflow.parentRunId": run.run_id}
        network = store.client.create_run(store.experiment_id, tags=tags).info.run_id
        store.client.set_terminated(network)
        raise Interrupted("Stopped by SIGTERM")
    return run.run_id, network


def killed(store, **tags):
    """A command whose process was killed; returns its run."""
    run_id, _ = stopped(store)
    store.client.update_run(run_id, status="RUNNING")
    store.client.delete_tag(run_id, "reason")
    give(store, run_id, DEAD | tags)
    return run_id


def test_a_new_run_has_the_values_and_ends_without_a_trace_of_its_lease(store):
    run = store.get(run_command(store))
    assert (run.name, run.status, run.parameters) == ("grid digits", "FINISHED", VALUES)
    assert run.tags.keys() == {"job", "mlflow.runName", "mlflow.user", "mlflow.source.name", "mlflow.source.type"}


def test_a_command_that_was_stopped_goes_on_in_its_run_and_its_reason_goes(store):
    run_id, _ = stopped(store)
    assert store.get(run_id).tags["reason"] == "Stopped by SIGTERM"
    assert run_command(store) == run_id
    run = store.get(run_id)
    assert run.status == "FINISHED"
    assert not {"reason", "lease", "heartbeat"} & run.tags.keys()


def test_the_launcher_s_run_is_the_command_s_and_keeps_what_the_launcher_logged(store, launched):
    run_id = launched()
    assert run_command(store) == run_id
    assert store.get(run_id).parameters == TYPED
    assert store.get(run_id).name == "grid digits"


def test_a_name_that_the_user_chose_stays(store, launched):
    run_id = launched("baseline")
    run_command(store)
    assert store.get(run_id).name == "baseline"


def test_what_the_launcher_began_the_module_goes_on_with(store, launched, monkeypatch):
    run_id = launched()
    stopped(store)
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert run_command(store) == run_id
    assert store.get(run_id).parameters == TYPED


def test_what_the_module_began_moves_under_the_launcher_s_run(store, launched):
    before, network = stopped(store)
    run_id = launched()
    assert run_command(store) == run_id
    left = store.get(before)
    assert (left.status, left.tags["continued_by"], left.tags["reason"]) == ("KILLED", run_id, "Stopped by SIGTERM")
    assert store.get(network).parent_id == run_id
    assert not {"lease", "heartbeat"} & left.tags.keys()


def test_other_values_are_another_command(store):
    before, network = stopped(store)
    assert run_command(store, VALUES | {"learning_rate": "0.2"}) != before
    assert "continued_by" not in store.get(before).tags
    assert store.get(network).parent_id == before


def test_a_run_that_is_finished_is_not_written_into(store, launched):
    run_id = launched()
    run_command(store)
    before = store.get(run_id)
    with pytest.raises(UsageError) as refused:
        run_command(store, name="train digits")
    assert str(refused.value) == (
        f"MLFLOW_RUN_ID names run grid digits ({run_id}), which is finished: nothing is written into it any more. "
        + HOW_TO_GO_ON
    )
    assert store.get(run_id) == before


def test_the_run_of_another_command_is_not_written_into(store, launched):
    run_id = launched()
    stopped(store)
    before = store.get(run_id)
    for change in ({"name": "train digits"}, {"values": VALUES | {"learning_rate": "0.2"}}):
        with pytest.raises(UsageError) as refused:
            run_command(store, **change)
        assert str(refused.value) == (
            f"MLFLOW_RUN_ID names run grid digits ({run_id}), which belongs to another command, or to one with other "
            f"values. {HOW_TO_GO_ON}"
        )
    assert store.get(run_id) == before


@pytest.mark.parametrize("tags", [{"fingerprint": "f"}, {}], ids=["a network's", "a foreign one that failed"])
def test_a_run_that_is_no_command_s_is_not_written_into(store, launched, tags):
    run_id = launched(tags=tags)
    if not tags:
        store.client.set_terminated(run_id, "FAILED")
    with pytest.raises(UsageError, match="which belongs to another command, or to one with other values"):
        run_command(store)


def test_a_run_in_use_is_not_written_into(store, launched):
    run_id = launched()
    give(store, run_id, ELSEWHERE)
    with pytest.raises(UsageError) as refused:
        run_command(store)
    assert str(refused.value) == (
        f"MLFLOW_RUN_ID names run whimsical-newt-1 ({run_id}), which is in use by process 17 on elsewhere. "
        + HOW_TO_GO_ON
    )


def test_an_unknown_run_and_a_deleted_one_are_said_to_be(store, launched, monkeypatch):
    deleted = launched()
    store.client.delete_run(deleted)
    for run_id in ("0" * 32, deleted):
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        with pytest.raises(UsageError) as refused:
            run_command(store)
        assert str(refused.value) == (
            f"MLFLOW_RUN_ID is {run_id}; experiment 0 of {store.uri} has no such run. {HOW_TO_GO_ON}"
        )


def test_a_command_at_work_is_left_to_its_process(store):
    with command_run(store, "grid digits", VALUES) as first:
        assert run_command(store) != first.run_id
        assert store.get(first.run_id).status == "RUNNING"
    assert "continued_by" not in store.get(first.run_id).tags


def test_a_killed_command_goes_on_in_its_run(store):
    run_id = killed(store)
    assert run_command(store) == run_id


@pytest.mark.parametrize("tags", [DEAD, {"lease": "no JSON"}, {}], ids=["dead", "malformed", "none"])
def test_what_a_dead_process_left_running_is_ended(store, tags):
    ours = store.client.create_run(store.experiment_id, tags={"fingerprint": "f", **tags}).info.run_id
    foreign = store.client.create_run(store.experiment_id).info.run_id
    run_command(store)
    run = store.get(ours)
    assert (run.status, run.tags["reason"]) == ("KILLED", "its process died before the run ended")
    assert not {"lease", "heartbeat"} & run.tags.keys()
    assert store.get(foreign).status == "RUNNING"


def test_what_a_process_of_another_machine_left_running_is_ended_once_it_is_known_to_be_dead(store, monkeypatch):
    before, network = stopped(store)
    store.client.update_run(before, status="RUNNING")
    give(store, before, ELSEWHERE)
    monkeypatch.setattr(lease, "TAKEOVER_SECONDS", 0.2)
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.05)
    with command_run(store, "grid digits", VALUES) as run:
        assert run.run_id != before
        while store.get(before).status == "RUNNING":
            assert store.get(run.run_id).status == "RUNNING"
    assert store.get(before).tags["continued_by"] == run.run_id
    assert store.get(network).parent_id == run.run_id


def test_a_command_whose_run_was_taken_over_writes_nothing_more_to_it(store):
    with pytest.raises(Lost), command_run(store, "grid digits", VALUES) as run:
        give(store, run.run_id, ELSEWHERE)
        with pytest.raises(Lost):
            run._held.renew()
    assert store.get(run.run_id).status == "RUNNING"
    assert store.get(run.run_id).tags["lease"] == ELSEWHERE["lease"]


def test_a_lease_on_a_finished_run_goes(store):
    run_id = run_command(store)
    give(store, run_id, ELSEWHERE)  # it was killed between its end and its release
    run_command(store, VALUES | {"learning_rate": "0.2"})
    run = store.get(run_id)
    assert run.status == "FINISHED"
    assert not {"lease", "heartbeat"} & run.tags.keys()
