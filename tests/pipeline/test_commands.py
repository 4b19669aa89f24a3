"""Commands on the digits, read back as a user of MLflow would."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Metric, Param
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from pipeline import commands
from pipeline.config import TrainingConfig, parse_sizes
from pipeline.data import datasets
from pipeline.errors import PipelineError, UsageError
from pipeline.experiments import grid
from pipeline.tracking.models import load_served
from pipeline.tracking.parents import command_run
from pipeline.tracking.store import Store
from pipeline.training.networks import Settings
from pipeline.training.task import Outcome, Status
from tests.conftest import working_in

QUICK = TrainingConfig(dataset="digits", learning_rate=0.1, init_std="he", max_epoch=3, test_epoch=2, disp_freq=5)
BATCHES = -(-1437 // 100)
FINAL = {"train_accuracy", "train_loss", "test_accuracy", "test_loss", "train_seconds"}
PICTURES = {"training_curves.png", "confusion_matrix.png", "mistakes.png"}


def weights(store, run_id):
    """The weights in the run's model."""
    [model] = store.models(run_id)
    [archive] = Path(model.artifact_location.removeprefix("file://")).rglob("*.npz")
    with np.load(archive, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def same_bits(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def four(tmp_path_factory, data_dir, empty_store):
    """A grid of four networks with two workers: its store, settings, configurations and outcomes."""
    folder = tmp_path_factory.mktemp("four")
    with working_in(folder, empty_store):
        settings = Settings(data_dir=data_dir, checkpoint_dir=folder / "checkpoints", workers=2, quiet=True)
        configs = grid(
            QUICK,
            hidden_sizes=[(128,), (256, 64)],
            activations=["relu", "gelu"],
            losses=["softmax_cross_entropy"],
            seeds=[0],
        )
        outcomes = commands.train_all("grid", configs, settings, {"dataset": "digits"})
        yield Store.open(), settings, configs, outcomes


@pytest.fixture
def within_four(four, monkeypatch):
    store, *_ = four
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.chdir(Path(store.uri.removeprefix("sqlite:///")).parent)
    return four


def parent_of(store):
    return next(run for run in store.search("tags.job LIKE '%'") if run.name.startswith("grid digits"))


def test_grid_leaves_one_parent_with_a_child_for_each_network(within_four):
    store, _, configs, outcomes = within_four
    children = list(store.search(f"tags.mlflow.parentRunId = '{parent_of(store).run_id}'"))
    assert sorted(run.name for run in children) == sorted(config.network for config in configs)
    assert {run.status for run in [*children, parent_of(store)]} == {"FINISHED"}
    assert {outcome.run_id for outcome in outcomes} == {run.run_id for run in children}
    assert not any("lease" in run.tags for run in children)


def test_child_has_every_hyperparameter_and_the_data(within_four):
    store, settings, _, outcomes = within_four
    dataset = datasets.load("digits", settings.data_dir)
    for outcome in outcomes:
        run = store.get(outcome.run_id)
        assert TrainingConfig.from_parameters(run.parameters) == outcome.config
        assert run.parameters["dataset_digest"] == dataset.digest
        assert run.tags["fingerprint"] == outcome.config.fingerprint(dataset.digest)
        [given] = store.client.get_run(run.run_id).inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest) == ("digits", dataset.digest)


def test_curves_have_the_points_that_were_asked_for(within_four):
    store, _, _, outcomes = within_four
    for outcome in outcomes:
        for kind in ("loss", "accuracy"):
            train_steps = [point.step for point in store.history(outcome.run_id, f"train/{kind}")]
            assert train_steps == list(range(5, 3 * BATCHES + 1, 5))
            test_steps = [point.step for point in store.history(outcome.run_id, f"test/{kind}")]
            assert test_steps == [2 * BATCHES, 3 * BATCHES]
        assert store.get(outcome.run_id).metrics.keys() >= FINAL
        last = store.history(outcome.run_id, "test/accuracy")[-1].value
        assert store.get(outcome.run_id).metrics["test_accuracy"] == last


def test_runs_have_pictures_and_the_parent_its_table(within_four):
    store, _, _, outcomes = within_four
    for outcome in outcomes:
        assert {file.path for file in store.client.list_artifacts(outcome.run_id)} >= PICTURES
    parent = parent_of(store)
    files = {file.path for file in store.client.list_artifacts(parent.run_id)}
    assert files == {"results.md", "networks.json", "curves.png", "accuracy_map.png"}


def test_the_parent_says_what_came_out_and_which_runs_belong_to_it(within_four):
    store, _, _, outcomes = within_four
    parent = parent_of(store)
    assert parent.name == "grid digits, lr 0.1, he, 3 epochs"
    best = max(outcomes, key=lambda outcome: outcome.metrics["test_accuracy"])
    accuracy = best.metrics["test_accuracy"]
    assert parent.description.startswith(
        f"**{accuracy:.2%} of the 360 test images** are classified correctly by the best network, "
        f"`{best.config.network}`. 4 of 4 networks are finished; * marks the best."
    )
    named = json.loads(Path(store.client.download_artifacts(parent.run_id, "networks.json")).read_text())
    assert named == {outcome.config.network: outcome.run_id for outcome in outcomes}


def test_the_parent_has_metrics_from_the_first_network_to_the_last(within_four):
    store, _, _, outcomes = within_four
    parent = parent_of(store)
    assert parent.metrics == {
        "networks_asked": 4,
        "networks_finished": 4,
        "seconds": pytest.approx(sum(outcome.metrics["train_seconds"] for outcome in outcomes)),
        "best_test_accuracy": max(outcome.metrics["test_accuracy"] for outcome in outcomes),
    }
    finished = store.history(parent.run_id, "networks_finished")
    assert [point.value for point in finished] == [0, 1, 2, 3, 4]
    assert [point.value for point in store.history(parent.run_id, "networks_asked")] == [4] * 5


def test_the_parent_links_to_a_view_of_the_experiment_with_the_columns_that_matter(within_four):
    store, *_ = within_four
    link = f"#/experiments/{store.experiment_id}/runs?viewStateShareKey=overview&workflowType=machine_learning"
    assert f"]({link})" in parent_of(store).description
    view = json.loads(store.client.get_experiment(store.experiment_id).tags["mlflow.sharedViewState.overview"])
    shown = ("best_test_accuracy", "networks_finished", "networks_asked", "seconds", "test_accuracy")
    assert {f"metrics.`{name}`" for name in shown} <= set(view["selectedColumns"])


def test_a_model_is_named_by_its_network_and_its_metrics_by_their_data(within_four):
    store, settings, _, outcomes = within_four
    dataset = datasets.load("digits", settings.data_dir)
    for outcome in outcomes:
        [model] = store.models(outcome.run_id)
        assert model.name == outcome.config.network
        assert {metric.key for metric in model.metrics} == FINAL
        assert {(metric.dataset_name, metric.dataset_digest) for metric in model.metrics} == {
            ("digits", dataset.digest)
        }


def test_finished_networks_are_reused_and_stay_under_their_parent(within_four):
    store, settings, configs, outcomes = within_four
    again = commands.train_all("grid", configs, settings, {"dataset": "digits", "seeds": "0"})
    assert [outcome.run_id for outcome in again] == [outcome.run_id for outcome in outcomes]
    assert all(outcome.reused for outcome in again)
    assert {store.get(outcome.run_id).parent_id for outcome in again} == {parent_of(store).run_id}


@pytest.mark.parametrize("workers", [1, 2])
def test_weights_are_the_same_bits_in_any_grid_and_alone(four, workers, tmp_path, data_dir):
    finished, _, configs, outcomes = four
    settings = Settings(data_dir=data_dir, checkpoint_dir=tmp_path / "checkpoints", workers=workers, quiet=True)
    if workers == 1:
        others = commands.train_all("grid", configs[:2], settings, {})
    else:
        others = [commands.train_one(config, settings, {}) for config in configs[:2]]
    store = Store.open()
    for first, second in zip(outcomes, others, strict=False):
        assert same_bits(weights(finished, first.run_id), weights(store, second.run_id))
        assert {**first.metrics, "train_seconds": 0} == {**second.metrics, "train_seconds": 0}


def test_force_trains_again(settings):
    first = commands.train_one(QUICK, settings, {})
    assert commands.train_one(QUICK, settings, {}).run_id == first.run_id
    assert commands.train_one(QUICK, replace(settings, force=True), {}).run_id != first.run_id


def test_a_network_of_other_sizes_is_trained_logged_and_served(settings, store):
    config = replace(QUICK, hidden_sizes=parse_sizes("32x16x8"), max_epoch=1)
    outcome = commands.train_one(config, settings, {})
    run = store.get(outcome.run_id)
    assert run.name == "relu-euclidean-32x16x8"
    assert (run.parameters["hidden_sizes"], run.parameters["hidden_layers"]) == ("32x16x8", "3")
    trained = weights(store, outcome.run_id)
    shapes = [trained[f"layer{number}.weight"].shape for number in range(1, 5)]
    assert shapes == [(64, 32), (32, 16), (16, 8), (8, 10)]
    images = np.zeros((2, 8, 8), np.uint8)
    classes, scores = load_served(f"runs:/{outcome.run_id}/{config.network}").predict(images)
    assert len(classes) == 2
    assert [len(each) for each in scores] == [10, 10]


def test_validation_holds_out_the_last_sixth(settings, store):
    outcome = commands.train_one(replace(QUICK, validation=True), settings, {})
    assert outcome.metrics.keys() == {name.replace("test", "validation") for name in FINAL}
    kept = 1437 - 1437 // 6
    steps = [point.step for point in store.history(outcome.run_id, "validation/accuracy")]
    assert steps[-1] == 3 * -(-kept // 100)


def test_diverged_network_fails_with_its_reason_and_takes_none_down(settings, store):
    configs = [QUICK, replace(QUICK, learning_rate=1e30)]
    with pytest.raises(PipelineError, match=r"1 of 2 networks are not finished.*epoch 1"):
        commands.train_all("grid", configs, settings, {})
    runs = {run.name: run for run in store.search("tags.fingerprint LIKE '%'")}
    assert runs[f"{QUICK.network} lr 0.1"].status == "FINISHED"
    failed = runs[f"{QUICK.network} lr 1e+30"]
    assert failed.status == "FAILED"
    assert "epoch 1" in failed.tags["reason"]
    assert parent_of(store).status == "FAILED"


def test_a_diverged_network_keeps_every_point_of_its_curve(settings, store):
    config = replace(QUICK, learning_rate=5.0, init_std=0.01, disp_freq=1)
    with pytest.raises(PipelineError, match="training diverged"):
        commands.train_one(config, settings, {})
    (run,) = store.search("tags.fingerprint LIKE '%'")
    step = int(re.search(r"step (\d+)$", run.tags["reason"])[1])
    assert step > 2
    for key in ("train/loss", "train/accuracy"):
        steps = [point.step for point in store.history(run.run_id, key)]
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) in {step - 1, step}  # the loss of the last step, where it is finite, is a point as well


def test_a_loss_that_grows_without_bound_is_a_divergence_though_it_is_finite(settings, store):
    config = replace(QUICK, loss="softmax_cross_entropy", learning_rate=0.003, weight_decay=750.0, max_epoch=5)
    with pytest.raises(PipelineError, match=r"training diverged: the loss is \d\.\d+e\+\d+ in epoch \d+"):
        commands.train_one(config, settings, {})
    (run,) = store.search("tags.fingerprint LIKE '%'")
    assert run.status == "FAILED"


def test_batch_size_beyond_the_data_is_refused_before_any_run(settings, store):
    with pytest.raises(UsageError, match="batch_size is 5000; it has to be at most 1437"):
        commands.train_all("grid", [replace(QUICK, batch_size=5000)], settings, {})
    assert not list(store.search(""))


def test_parent_that_a_launcher_made_is_used(settings, store, monkeypatch):
    run = store.client.create_run(store.experiment_id, run_name="whimsical-newt-1")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    outcome = commands.train_one(QUICK, settings, {"dataset": "digits"})
    assert store.get(outcome.run_id).parent_id == run.info.run_id
    assert store.get(run.info.run_id).name == "train digits, lr 0.1, he, 3 epochs"


def test_prepare_shows_what_the_data_are(settings, store):
    dataset = commands.prepare("digits", settings, {"dataset": "digits"})
    [run] = store.search("")
    assert (run.name, run.status) == ("prepare digits", "FINISHED")
    assert dataset.digest in run.description
    assert {file.path for file in store.client.list_artifacts(run.run_id)} == {"class_counts.md", "samples.png"}
    [given] = store.client.get_run(run.run_id).inputs.dataset_inputs
    assert given.dataset.digest == dataset.digest


def test_short_run_on_mnist(mnist, tmp_path):
    settings = Settings(data_dir=tmp_path / "data", source=mnist, quiet=True)
    config = TrainingConfig(loss="hinge", learning_rate=0.03, init_std="he", max_epoch=1)
    outcome = commands.train_one(config, settings, {})
    assert outcome.metrics["test_accuracy"] > 0.9


@pytest.fixture
def artifacts_fill_up(monkeypatch):
    """An artifact store that takes models, and nothing else any more."""

    log_artifact = LocalArtifactRepository.log_artifact

    def full(repository, file, *folder):
        if "write-test" not in file:
            raise OSError(28, "No space left on device")
        log_artifact(repository, file, *folder)

    monkeypatch.setattr(LocalArtifactRepository, "log_artifact", full)


def test_decorations_that_fail_are_warnings_of_a_finished_run(settings, store, artifacts_fill_up, capsys):
    outcome = commands.train_one(QUICK, settings, {})
    run = store.get(outcome.run_id)
    assert {each.status for each in store.search("")} == {"FINISHED"}
    assert run.metrics.keys() >= FINAL
    said = capsys.readouterr()
    assert "The network is finished." in said.out
    for picture in PICTURES:
        assert f"Warning: {QUICK.network}: {picture} is missing" in said.err
    assert "Warning: results.md is missing" in said.err
    assert "No space left on device" in said.err
    assert "does not answer" not in said.err


def test_a_grid_whose_pictures_cannot_be_drawn_is_finished(settings, store, monkeypatch, capsys):
    def broken(*_args, **_kwargs):
        raise ValueError("bottom cannot be >= top")

    for picture in ("overlay", "accuracy_map"):
        monkeypatch.setattr(f"pipeline.display.figures.{picture}", broken)
    commands.train_all("grid", [replace(QUICK, max_epoch=1)], replace(settings, workers=1), {})
    assert parent_of(store).status == "FINISHED"
    assert capsys.readouterr().err.splitlines() == [
        f"Warning: {name} is missing (bottom cannot be >= top); the results do not need it."
        for name in ("curves.png", "accuracy_map.png")
    ]


def test_the_description_of_many_networks_has_the_best_and_the_links(settings, store, monkeypatch):
    outcomes = []
    for seed in range(90):
        config = replace(QUICK, seed=seed)
        run_id = store.client.create_run(store.experiment_id, run_name=config.name).info.run_id
        metrics = dict.fromkeys(FINAL, 0.5) | {"test_accuracy": seed / 100}
        outcomes.append(Outcome(config, Status.FINISHED, run_id, metrics))

    def run_networks(*_args, on_outcomes, **_kwargs):
        on_outcomes(outcomes)
        return outcomes

    monkeypatch.setattr(commands, "run_networks", run_networks)
    monkeypatch.setattr(commands, "_draw", lambda *_args: None)
    commands.train_all("grid", [outcome.config for outcome in outcomes], settings, {})
    description = parent_of(store).description
    assert len(description) < 7500  # what registering adds still fits into 8000
    assert "[Compare the best 50](#/compare-runs?runs=" in description
    assert "[their ranking and curves](#/experiments/" in description
    table = description[description.index("|    |") :]
    shown = int(re.search(r"the best (\d+) of 90; `results.md` has all", table)[1])
    assert re.findall(r"^\|[ *]+\| +(\d+) \|", table, re.MULTILINE) == [str(seed) for seed in range(89, 89 - shown, -1)]


def test_no_secret_is_in_anything_that_is_written(settings, store, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "opensesame")
    words = "as in db://me:opensesame@host, or opensesame alone"

    def broken(*_args, **_kwargs):
        raise OSError(words)

    monkeypatch.setattr("pipeline.display.figures.confusion_matrix", broken)
    commands.train_one(QUICK, settings, {"note": words})
    with pytest.raises(PipelineError), command_run(store, "command", {"words": words}) as run:
        run.log_text(words, "words.md")
        run.describe(words)
        raise PipelineError(words)
    [run] = store.search("attributes.run_name = 'command'")
    assert run.tags["reason"] == "as in db://me:***@host, or *** alone"
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert any(b"me:***@host" in content for content in written)
    assert not [content for content in written if b"opensesame" in content]
    assert "opensesame" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("lacking", ["test_accuracy", "train_seconds"])
def test_a_run_with_a_copied_fingerprint_is_not_reused(lacking, settings, store):
    outcome = commands.train_one(QUICK, settings, {})
    original = store.get(outcome.run_id)
    copy = store.client.create_run(store.experiment_id, tags={"fingerprint": original.tags["fingerprint"]})
    params = [Param(key, value) for key, value in original.parameters.items()]
    store.client.log_batch(copy.info.run_id, [Metric(name, 0.5, 0, 0) for name in FINAL - {lacking}], params)
    store.client.set_terminated(copy.info.run_id)
    assert commands.train_one(QUICK, settings, {}).run_id == outcome.run_id
    store.client.delete_run(outcome.run_id)
    again = commands.train_one(QUICK, settings, {})
    assert again.run_id not in {copy.info.run_id, outcome.run_id}
    assert not again.reused


@pytest.mark.parametrize("changed", [{"momentum": "0.9"}, {"dataset_digest": "0" * 32}, {"loss": "no loss"}])
def test_a_run_whose_parameters_are_not_those_of_its_fingerprint_is_not_reused(changed, settings, store, caplog):
    caplog.set_level("INFO", "pipeline")
    outcome = commands.train_one(QUICK, settings, {})
    run = store.get(outcome.run_id)
    copied = store.client.create_run(store.experiment_id, tags={"fingerprint": run.tags["fingerprint"]}).info
    params = [Param(key, value) for key, value in {**run.parameters, **changed}.items()]
    metrics = [Metric(key, value, 0, 0) for key, value in run.metrics.items()]
    store.client.log_batch(copied.run_id, metrics, params)
    store.client.set_terminated(copied.run_id)
    again = commands.train_one(QUICK, settings, {})
    assert (again.run_id, again.reused) == (outcome.run_id, True)
    lines = [record.getMessage() for record in caplog.records if "not reused" in record.getMessage()]
    assert lines
    assert set(lines) == {
        f"Run {copied.run_name} ({copied.run_id}) is not reused: its parameters are not those of its fingerprint."
    }


def test_models_are_found_by_the_data_that_they_were_measured_on(settings, store):
    outcome = commands.train_one(QUICK, settings, {})
    [given] = store.client.get_run(outcome.run_id).inputs.dataset_inputs
    name, digest = given.dataset.name, given.dataset.digest

    def found(digest):
        data = [{"dataset_name": name, "dataset_digest": digest}]
        return store.client.search_logged_models([store.experiment_id], "metrics.test_accuracy > 0", data)

    [model] = found(digest)
    assert model.source_run_id == outcome.run_id
    assert {metric.key for metric in model.metrics} == FINAL
    assert not found("another")
    text = Path(model.artifact_location.removeprefix("file://"), "MLmodel").read_text()
    assert not re.search(r"(^|[\s:'\"])/\w+/", text)  # a path of this machine


def test_a_report_takes_the_only_settings_that_there_are(settings, store, tmp_path, capsys):
    commands.train_one(replace(QUICK, max_epoch=1), settings, {})
    document = commands.report(TrainingConfig(dataset="digits"), tmp_path / "results", {})
    assert capsys.readouterr().err == (
        "All finished networks on digits have other settings, which are taken: "
        "-P learning_rate=0.1 -P max_epoch=1 -P init_std=he\n"
    )
    assert "relu-euclidean-1h" in document.read_text()


def test_the_folder_of_a_report_is_shown_with_its_absolute_path(settings, tmp_path, monkeypatch, capsys):
    commands.train_one(replace(QUICK, max_epoch=1), settings, {})
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    capsys.readouterr()
    commands.report(replace(QUICK, max_epoch=1), Path("out"), {})
    assert capsys.readouterr().out == f"The report is {project / 'out' / 'results.md'}.\n"


def test_a_folder_that_cannot_be_written_is_named_with_its_absolute_path(settings, store, tmp_path, monkeypatch):
    commands.train_one(replace(QUICK, max_epoch=1), settings, {})
    (tmp_path / "out").write_text("a file")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError) as failure:
        commands.report(replace(QUICK, max_epoch=1), Path("out"), {})
    assert str(failure.value) == (
        f"output is 'out', and the report cannot be written to {tmp_path / 'out'} (File exists); give a folder that "
        "can be written, best with its absolute path, because `mlflow run` starts in the folder of the project."
    )
    assert (tmp_path / "out").read_text() == "a file"


def test_a_report_whose_settings_have_no_run_names_those_that_have(settings, store, tmp_path):
    output = tmp_path / "results"
    output.mkdir()
    (output / "results.md").write_text("the good one")
    for rate in (0.1, 0.2):
        commands.train_one(replace(QUICK, max_epoch=1, learning_rate=rate), settings, {})
    commands.train_one(replace(QUICK, max_epoch=1, loss="hinge"), settings, {})
    with pytest.raises(UsageError) as failure:
        commands.report(TrainingConfig(dataset="digits"), output, {})
    assert str(failure.value) == (
        "No finished network on digits has these settings. Give one of: "
        "-P learning_rate=0.1 -P max_epoch=1 -P init_std=he (2 networks); "
        "-P learning_rate=0.2 -P max_epoch=1 -P init_std=he (1 network)"
    )
    assert [(file.name, file.read_text()) for file in output.iterdir()] == [("results.md", "the good one")]


def test_a_step_of_a_reproduction_logs_only_what_is_true_of_all_its_networks(settings, tmp_path, monkeypatch):
    logged = {}
    monkeypatch.setattr(commands, "prepare", lambda *_: None)
    monkeypatch.setattr(commands, "report", lambda *_, **__: None)
    monkeypatch.setattr(
        commands, "train_all", lambda step, _networks, _settings, given, **_: logged.update({step: given})
    )
    monkeypatch.setattr(commands, "search", lambda *given, **_: logged.update(search=given[-1]))
    commands.reproduce(QUICK, settings, {}, seeds=[0, 1], trials=3, output=tmp_path)
    for step in ("grid", "sweep"):
        assert not {"activation", "loss", "hidden_sizes", "hidden_layers", "seed"} & logged[step].keys()
        assert logged[step]["seeds"] == "0,1"
        assert logged[step]["max_epoch"] == str(QUICK.max_epoch)
    assert (logged["search"]["activation"], logged["search"]["loss"]) == ("sigmoid", "euclidean")
    assert (logged["search"]["seeds"], logged["search"]["trials"]) == ("0,1", "3")
