"""What a run keeps of its predictions, and what an older run's model says instead."""

import io

import numpy as np
import pytest

from pipeline.data.datasets import load
from pipeline.errors import PipelineError
from pipeline.training.predictions import ARTIFACT, kept


def refused():
    raise PipelineError("no data here")


def test_finished_run_keeps_its_predictions_without_needing_the_data(trained):
    found = kept(trained.store, trained.outcome.run_id, refused)
    assert found.predicted.dtype == found.labels.dtype == np.uint8
    assert found.correct.mean() == pytest.approx(trained.outcome.metrics["test_accuracy"])


@pytest.fixture
def older(trained, monkeypatch):
    """A run's store as it was before predictions were kept."""
    call = trained.store.call

    def without(method, *args, **kwargs):
        found = call(method, *args, **kwargs)
        return [each for each in found if each.path != ARTIFACT] if method == "list_artifacts" else found

    monkeypatch.setattr(trained.store, "call", without)
    return trained


def test_model_of_an_older_run_predicts_the_same(older, data_dir):
    found = kept(older.store, older.outcome.run_id, lambda: load("digits", data_dir))
    assert found.correct.mean() == pytest.approx(older.outcome.metrics["test_accuracy"])
    assert np.array_equal(found.labels, load("digits", data_dir).test.labels)


def test_older_run_without_data_has_no_predictions(older):
    assert kept(older.store, older.outcome.run_id, refused) is None


def test_run_without_a_model_has_no_predictions(store, data_dir):
    run_id = store.client.create_run(store.experiment_id).info.run_id
    assert kept(store, run_id, lambda: load("digits", data_dir)) is None


def archive(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


BYTES = np.zeros(3, np.uint8)
FORGED = {
    "no archive": (b"predictions", "cannot be read"),
    "no labels": (archive(predicted=BYTES), "cannot be read"),
    "objects": (archive(predicted=np.array([{}]), labels=BYTES), "cannot be read"),
    "other lengths": (archive(predicted=BYTES, labels=BYTES[1:]), "does not hold predictions"),
    "other types": (archive(predicted=BYTES.astype(float), labels=BYTES.astype(float)), "does not hold predictions"),
    "no lists": (archive(predicted=BYTES[0], labels=BYTES[0]), "does not hold predictions"),
    "huge ones": (archive(predicted=np.zeros(2**28, np.uint8), labels=BYTES), "does not hold predictions"),
}


@pytest.mark.parametrize(("content", "warning"), FORGED.values(), ids=FORGED)
def test_forged_predictions_are_passed_over_with_a_warning(store, tmp_path, content, warning, capsys):
    run_id = store.client.create_run(store.experiment_id).info.run_id
    (tmp_path / ARTIFACT).write_bytes(content)
    store.client.log_artifact(run_id, tmp_path / ARTIFACT)
    assert kept(store, run_id, refused) is None
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Warning: {ARTIFACT} of run {run_id} {warning}")
