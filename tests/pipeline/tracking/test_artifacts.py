"""Where artifacts go, found out before the work whose results they are."""

import sys
from dataclasses import replace

import pytest

from pipeline import commands
from pipeline.config import TrainingConfig
from pipeline.errors import PipelineError
from pipeline.tracking.artifacts import check_artifacts
from pipeline.tracking.store import Store

QUICK = TrainingConfig(dataset="digits", max_epoch=1)


@pytest.fixture
def no_training(monkeypatch):
    def begun(*_args, **_kwargs):
        raise AssertionError("a training began")

    monkeypatch.setattr("pipeline.training.networks.train", begun)


def in_experiment(store, monkeypatch, location):
    identity = store.call("create_experiment", "elsewhere", artifact_location=location)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", identity)


def test_an_artifact_store_without_its_package_stops_before_training(settings, store, monkeypatch, no_training):
    monkeypatch.setitem(sys.modules, "boto3", None)
    in_experiment(store, monkeypatch, "s3://bucket/runs")
    with pytest.raises(PipelineError) as failure:
        commands.train_one(QUICK, settings, {})
    message = str(failure.value)
    assert message.startswith("The artifact store s3://bucket/runs/")
    assert "needs a package that is not installed (" in message
    assert message.endswith("). Install it: pip install boto3")


def test_an_artifact_folder_that_cannot_be_written_stops_before_training(
    settings, store, monkeypatch, no_training, tmp_path
):
    (tmp_path / "file").write_text("")
    in_experiment(store, monkeypatch, str(tmp_path / "file" / "artifacts"))
    monkeypatch.setattr("pipeline.tracking.artifacts.check_not_moved", lambda _store: None)
    with pytest.raises(PipelineError) as failure:
        commands.train_one(QUICK, settings, {})
    assert str(failure.value).startswith(f"The artifact store {tmp_path}/file/artifacts/")
    assert str(failure.value).endswith("). Make room or allow writing there. Run the same command again.")


def test_the_check_leaves_nothing(store):
    run_id = store.call("create_run", store.experiment_id).info.run_id
    check_artifacts(store, run_id)
    assert not store.call("list_artifacts", run_id)


@pytest.fixture
def moved(settings, tmp_path, monkeypatch):
    """A project with a finished network, in another folder than when it was trained."""
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "old"
    old.mkdir()
    (tmp_path / "mlflow.db").rename(old / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{old / 'mlflow.db'}")
    identity = Store.open().call("create_experiment", "moved", artifact_location=str(old / "mlruns" / "9"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", identity)
    outcome = commands.train_one(QUICK, settings, {})
    old.rename(tmp_path / "new")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}")
    return tmp_path, outcome


def test_a_moved_project_says_where_its_artifacts_were_and_how_they_are_found(moved, settings):
    folder, outcome = moved
    old, new = folder / "old/mlruns/9", folder / "new/mlruns/9"
    message = (
        f"The artifacts of this experiment were in {old}, which is gone: has the project been moved? Let the old path "
        f"lead to them: mkdir -p {old.parent} && ln -s {new} {old} (or, if they are lost, begin anew there: "
        f"mkdir -p {old})"
    )
    for command in (
        lambda: commands.train_one(QUICK, replace(settings, register="digits"), {}),
        lambda: commands.predict(f"runs:/{outcome.run_id}/model", folder, {}),
    ):
        with pytest.raises(PipelineError) as failure:
            command()
        assert str(failure.value) == message
    assert not (folder / "old").exists()
    old.parent.mkdir(parents=True)
    old.symlink_to(new)
    commands.train_one(QUICK, replace(settings, register="digits"), {})
    assert Store.open().client.get_model_version_by_alias("digits", "champion").run_id == outcome.run_id


def test_a_model_that_is_lost_is_not_registered(moved, settings):
    folder, outcome = moved
    (folder / "old/mlruns/9").mkdir(parents=True)
    with pytest.raises(PipelineError, match=rf"The model of run {outcome.run_id} is no longer in .*; train the network "
                       r"again with --force \(-P force=true\)\."):  # fmt: skip
        commands.train_one(QUICK, replace(settings, register="digits"), {})
    assert not Store.open().client.search_model_versions("name = 'digits'")
