import json
import pickle
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.exceptions import MlflowException

from model.activations import Gelu
from model.network import Network
from pipeline.data import datasets
from pipeline.training import serving
from tests.servers import mlflow_server

EXPECTED = r"numbers from 0 \(background\) to 255 \(ink\) in an array of shape \(N, 64\) or \(N, 8, 8\)"


@pytest.fixture
def loaded(trained):
    return mlflow.pyfunc.load_model(trained.model)


@pytest.fixture
def images(data_dir):
    """The digits' test images."""
    dataset = datasets.load("digits", data_dir)
    return dataset.images("test", np.arange(len(dataset.test)))


def model_folder(run):
    return mlflow.artifacts.download_artifacts(run.model)


@pytest.mark.parametrize("number", [np.uint8, np.int64, np.float32, np.float64])
def test_pixels_come_flat_or_as_images(loaded, images, number):
    answers = loaded.predict(images.astype(number))
    assert list(answers) == ["class", "scores"]
    pd.testing.assert_frame_equal(loaded.predict(images.reshape(len(images), -1).astype(number)), answers)


def test_answers_are_the_classes_and_scores_of_the_network(trained, loaded, images, data_dir):
    answers = loaded.predict(images)
    labels = datasets.load("digits", data_dir).test.labels
    assert np.mean(answers["class"] == labels) == pytest.approx(trained.outcome.metrics["test_accuracy"])
    scores = np.array(answers["scores"].tolist())
    assert scores.shape == (len(images), 10)
    np.testing.assert_array_equal(scores.argmax(axis=1), answers["class"])


def test_one_image_and_none(loaded, images):
    assert len(loaded.predict(images[:1])) == 1
    assert len(loaded.predict(images[:0])) == 0


@pytest.mark.parametrize(
    ("pixels", "given"),
    [
        (np.zeros((2, 63)), r"an array of shape \(2, 63\)"),
        (np.zeros((2, 28, 28)), r"an array of shape \(2, 28, 28\)"),
        (np.zeros(64), r"an array of shape \(64,\)"),
        (np.zeros((2, 8, 8, 1)), r"an array of shape \(2, 8, 8, 1\)"),
        (np.full((1, 64), "ink"), "values of type <U3"),
        (np.zeros((1, 64), bool), "values of type bool"),
        (np.zeros((1, 64), complex), "values of type complex128"),
        (np.full((1, 64), None), "values of type object"),
        (np.full((1, 64), 256.0), "values from 256.0 to 256.0"),
        (np.full((1, 64), -1), "values from -1 to -1"),
        (np.full((1, 64), np.nan), "values from nan to nan"),
        (np.full((1, 64), np.inf), "values from inf to inf"),
    ],
)
def test_other_pixels_are_refused_naming_those_that_are_expected(loaded, pixels, given):
    with pytest.raises(MlflowException, match=f"^The pixels are {given}; expected are {EXPECTED}.$"):
        loaded.predict(pixels)


def test_what_is_no_array_is_refused_by_mlflow(loaded):
    with pytest.raises(MlflowException, match="suggests a numpy array input"):
        loaded.predict([[0] * 64])


def test_images_of_mnist_size(tmp_path):
    example = np.zeros((1, 28, 28), np.uint8)
    network = Network.create((784, 16, 10), Gelu(), init_std="he", seed=0, pixel_order=np.arange(784))
    serving.save(tmp_path / "model", network, "gelu", example, run_id="0" * 32, model_id="m-0")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    scores = network.predict(pixels.reshape(3, 784))
    np.testing.assert_allclose(model.predict(pixels)["scores"].tolist(), scores, atol=1e-5)
    with pytest.raises(MlflowException, match=r"shape \(N, 784\) or \(N, 28, 28\)"):
        model.predict(np.zeros((3, 64)))


def test_signature_and_example_are_there(trained, loaded):
    signature = loaded.metadata.signature
    assert signature.inputs.is_tensor_spec()
    assert signature.outputs.input_names() == ["class", "scores"]
    example = loaded.metadata.load_input_example(model_folder(trained))
    assert len(loaded.predict(example)) == 1


def test_nothing_in_the_folder_is_a_pickle(trained):
    folder = Path(model_folder(trained))
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    assert {"MLmodel", "artifacts/weights.npz", "serving.py", "code/model/network.py"} <= set(files)
    assert not [file for file in files.values() if file.read_bytes()[:1] == pickle.PROTO]
    with np.load(files["artifacts/weights.npz"], allow_pickle=False) as archive:
        assert all(np.isfinite(array).all() for array in archive.values())


def test_a_run_has_one_model_with_its_metrics(trained):
    (model,) = trained.store.models(trained.outcome.run_id)
    assert model.status == "READY"
    assert model.params["activation"] == "relu"
    assert {metric.key: metric.value for metric in model.metrics} == trained.outcome.metrics


def test_the_served_model_answers_over_http(trained, loaded, images, tmp_path):
    command = ("models", "serve", "--model-uri", trained.model, "--env-manager", "local")
    with mlflow_server(*command, log=tmp_path / "server.log", answering="/ping") as address:

        def ask(**body):
            return requests.post(f"{address}/invocations", json=body, timeout=60)

        expected = json.loads(loaded.predict(images[:5]).to_json(orient="records"))
        for body in (
            {"inputs": images[:5].tolist()},
            {"inputs": images[:5].reshape(5, 64).tolist()},
            {"instances": images[:5].tolist()},
        ):
            answer = ask(**body)
            assert answer.status_code == 200
            predictions = answer.json()["predictions"]
            assert [each["class"] for each in predictions] == [each["class"] for each in expected]
            for given, right in zip(predictions, expected, strict=True):
                assert given["scores"] == pytest.approx(right["scores"])
        for wrong in ([[0] * 63], [["ink"] * 64], [[0] * 64, [0] * 63], [[-1] * 64]):
            answer = ask(inputs=wrong)
            assert answer.status_code == 400
            assert "in an array of shape (N, 64) or (N, 8, 8)." in answer.json()["message"]
