import json
from dataclasses import replace

import mlflow
import numpy as np
import pytest

from pipeline import commands
from pipeline.config import TrainingConfig
from pipeline.errors import PipelineError, UsageError
from pipeline.tracking.acquisition import create
from pipeline.tracking.models import CHAMPION, check_name, model_version, register
from pipeline.training.task import Outcome


@pytest.fixture
def network(trained):
    """Make a finished run with a model, which knows its data."""
    store = trained.store

    def write(folder, _model_id):
        folder.mkdir()
        (folder / "MLmodel").write_text("flavors: {}\n")

    def make(dataset_digest="some data"):
        run = create(store, "a network", {})
        run.log_parameters({"dataset_digest": dataset_digest})
        run.log_model("a-network", write, {})
        return Outcome(trained.outcome.config, "FINISHED", run.run_id)

    return make


@pytest.fixture
def champion(trained):
    return lambda name: model_version(trained.store, name, CHAMPION)


def test_the_first_one_is_champion(trained, network, champion):
    first = network()
    said = register(trained.store, "first", first, "validation_accuracy", 0.9)
    assert said == (
        "`a network` is version 1 of the registered model `first` and its champion: validation accuracy 90.00%."
    )
    assert champion("first").run_id == first.run_id


def test_a_name_from_the_store_is_one_line_of_the_sentence(trained, network):
    first = network()
    trained.store.client.update_run(first.run_id, name="a\x1b[2J\n# b")
    said = register(trained.store, "named", first, "validation_accuracy", 0.9)
    assert said.startswith(r"`a\x1b[2J\n# b` is version 1 ")


def test_a_better_one_takes_its_place(trained, network, champion):
    register(trained.store, "better", network(), "validation_accuracy", 0.9)
    better = network()
    said = register(trained.store, "better", better, "validation_accuracy", 0.91)
    assert said.endswith("its new champion: validation accuracy 91.00%, before it 90.00% of version 1.")
    assert champion("better").run_id == better.run_id


@pytest.mark.parametrize("value", [0.89, 0.9])
def test_one_that_is_not_better_does_not(trained, network, champion, value):
    name = f"not better {value}"
    first = network()
    register(trained.store, name, first, "validation_accuracy", 0.9)
    said = register(trained.store, name, network(), "validation_accuracy", value)
    assert "is version 2" in said
    assert said.endswith("the champion is still version 1, with 90.00%.")
    assert champion(name).run_id == first.run_id


@pytest.mark.parametrize("text", ["", "much", "nan", "\x1b[2J", "9" * 5000])
def test_a_champion_whose_value_is_not_a_number_gives_way(trained, network, champion, text):
    name = f"malformed {text.encode().hex()[:8]}"
    register(trained.store, name, network(), "validation_accuracy", 0.9)
    trained.store.client.set_model_version_tag(name, "1", "value", text)
    said = register(trained.store, name, network(), "validation_accuracy", 0.5)
    assert said.endswith("its new champion: validation accuracy 50.00%, before it an unknown one of version 1.")
    assert champion(name).version == "2"


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", '[{"name": 1}]', "[" * 4000])
def test_a_malformed_list_of_versions_is_replaced(trained, network, text):
    outcome = network()
    [model] = trained.store.models(outcome.run_id)
    trained.store.client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": text})
    register(trained.store, f"list {text[:3]}{len(text)}", outcome, "validation_accuracy", 0.9)
    versions = json.loads(trained.store.client.get_logged_model(model.model_id).tags["mlflow.modelVersions"])
    assert versions[-1]["version"] == "1"


def test_a_champion_is_not_compared_across_data(trained, network, champion):
    first = network("some data")
    register(trained.store, "data", first, "validation_accuracy", 0.9)
    said = register(trained.store, "data", network("other data"), "validation_accuracy", 0.99)
    assert "the champion is still version 1, chosen on other data (some data)" in said
    assert champion("data").run_id == first.run_id


def test_a_champion_is_not_compared_across_measures(trained, network, champion):
    first = network()
    register(trained.store, "measures", first, "validation_accuracy", 0.9)
    said = register(trained.store, "measures", network(), "test_accuracy", 0.99)
    assert "the champion is still version 1, chosen on another measure (validation_accuracy)" in said
    assert champion("measures").run_id == first.run_id


def test_the_champion_registered_again_stays_one_version(trained, network, champion):
    first = network()
    register(trained.store, "again", first, "validation_accuracy", 0.9)
    said = register(trained.store, "again", first, "validation_accuracy", 0.9)
    assert "is version 1" in said
    assert "still its champion" in said
    assert champion("again").version == "1"


def test_choosing_by_the_test_images_is_called_so(trained, network):
    said = register(trained.store, "published", network(), "test_accuracy", 0.9)
    assert said.endswith("test accuracy 90.00% (chosen by the test images, so a little flattered by them).")


def test_a_run_without_a_model_is_refused(trained):
    run = trained.store.call("create_run", trained.store.experiment_id, run_name="bare")
    trained.store.call("log_param", run.info.run_id, "dataset_digest", "some data")
    bare = replace(trained.outcome, run_id=run.info.run_id)
    with pytest.raises(PipelineError, match="has no model to register"):
        register(trained.store, "bare", bare, "test_accuracy", 0.9)


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "@champion", "../up", " "])
def test_a_name_that_the_registry_cannot_have_is_refused_before_any_work(name, settings, store):
    with pytest.raises(UsageError, match="register is"):
        commands.train_one(TrainingConfig(dataset="digits"), replace(settings, register=name), {})
    assert list(store.search("")) == []


@pytest.mark.parametrize("name", [None, "digits", "The digits", "a-b_c.d 1"])
def test_other_names_are_accepted(name):
    check_name(name)


def test_the_best_of_a_command_is_registered_and_answers(trained, settings, tmp_path, capsys):
    settings = replace(settings, register="digits", checkpoint_dir=tmp_path)
    config = trained.outcome.config
    commands.train_one(replace(config, max_epoch=1), settings, {})
    assert "its champion: test accuracy" in capsys.readouterr().out
    commands.train_one(config, settings, {})  # the network that is trained already is only registered
    assert "version 2 of the registered model digits and its new champion" in capsys.readouterr().out
    commands.train_one(replace(config, max_epoch=2), settings, {})
    assert "the champion is still version 2" in capsys.readouterr().out
    model = mlflow.pyfunc.load_model("models:/digits@champion")
    assert model.metadata.run_id == trained.outcome.run_id
    assert len(model.predict(np.zeros((1, 64), np.uint8))) == 1
    parents = trained.store.search("attributes.run_name LIKE 'train digits%'", ["attributes.start_time DESC"])
    assert "registered model `digits`" in next(iter(parents)).description


def test_a_registered_model_says_so_where_models_are_listed(trained):
    def said():
        [model] = trained.store.models(trained.outcome.run_id)
        return json.loads(model.tags["mlflow.modelVersions"])

    for name in ("once", "once", "twice"):
        register(trained.store, name, trained.outcome, "test_accuracy", 0.9)
    assert [each for each in said() if each["name"] in {"once", "twice"}] == [
        {"name": "once", "version": "1"},
        {"name": "twice", "version": "1"},
    ]
