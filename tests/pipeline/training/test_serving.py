import json
import os
import pickle
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
import yaml
from mlflow.exceptions import MlflowException
from mlflow.utils.virtualenv import _get_python_env

from model.activations import Gelu
from model.network import Network
from pipeline.data import datasets
from pipeline.training import serving
from tests.conftest import REPOSITORY
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


@pytest.mark.parametrize("scaled", [lambda images: images / 255, lambda images: (images > 100).astype(np.float32)])
def test_pixels_from_0_to_1_are_refused_since_every_answer_would_be_the_same(loaded, images, scaled):
    given = "floats from 0.0 to 1.0, as if they had been divided by 255"
    with pytest.raises(MlflowException, match=f"^The pixels are {given}; expected are {EXPECTED}.$"):
        loaded.predict(scaled(images))


def test_whole_numbers_of_0_and_1_are_pixels_of_a_data_set_that_has_no_others(loaded, images):
    assert len(loaded.predict((images > 100).astype(np.uint8))) == len(images)


def test_an_image_without_ink_has_an_answer(loaded):
    assert len(loaded.predict(np.zeros((1, 64)))) == 1


def test_lists_are_as_good_as_arrays(loaded, images):
    pd.testing.assert_frame_equal(loaded.predict(images[:2].tolist()), loaded.predict(images[:2]))
    with pytest.raises(MlflowException, match=f"^The pixels are lists of different lengths; expected are {EXPECTED}.$"):
        loaded.predict([[0] * 64, [0] * 63])


@pytest.mark.parametrize(
    ("pixels", "given"),
    [
        (pd.DataFrame(np.zeros((2, 64))), "a table, as dataframe_split, dataframe_records and csv give"),
        ({"pixels": np.zeros((2, 64))}, "a dictionary"),
    ],
)
def test_what_has_names_is_refused_naming_the_key_that_is_expected(loaded, pixels, given):
    hint = ': in Python an array, over HTTP JSON with the key "inputs", as in {"inputs": [[0, 255, ...], ...]}.'
    with pytest.raises(MlflowException, match=f"^The pixels are {given}; expected are {EXPECTED}{re.escape(hint)}$"):
        loaded.predict(pixels)


def save_one_for_mnist(folder):
    network = Network.create((784, 16, 10), Gelu(), init_std="he", seed=0, pixel_order=np.arange(784))
    serving.save(folder, network, "gelu", (28, 28), run_id="0" * 32, model_id="m-0")
    return network


def test_images_of_mnist_size(tmp_path):
    network = save_one_for_mnist(tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    scores = network.predict(pixels.reshape(3, 784))
    np.testing.assert_allclose(model.predict(pixels)["scores"].tolist(), scores, atol=1e-5)
    with pytest.raises(MlflowException, match=r"shape \(N, 784\) or \(N, 28, 28\)"):
        model.predict(np.zeros((3, 64)))


def test_the_description_says_what_goes_in_and_what_comes_out(loaded):
    assert loaded.metadata.signature.outputs.input_names() == ["class", "scores"]
    assert re.fullmatch(EXPECTED, loaded.metadata.metadata["input"])


def test_the_folder_is_the_description_the_code_in_one_file_weights_and_requirements(tmp_path):
    folder = tmp_path / "model"
    save_one_for_mnist(folder)
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert set(files) == {"MLmodel", "serving.py", "weights.npz", "requirements.txt", "conda.yaml"}
    assert not [name for name, content in files.items() if content[:1] == pickle.PROTO]
    with np.load(folder / "weights.npz", allow_pickle=False) as archive:
        assert all(np.isfinite(array).all() for array in archive.values())


def test_the_requirements_are_the_same_for_every_manager_of_environments(trained):
    folder = Path(model_folder(trained))
    requirements = mlflow.pyfunc.get_model_dependencies(trained.model, format="pip")
    pinned = [f"{library}=={version(library)}" for library in ("mlflow", "numpy", "pandas")]
    assert Path(requirements).read_text().split() == pinned
    conda = yaml.safe_load((folder / "conda.yaml").read_text())
    python = f"python={platform.python_version()}"
    assert conda["dependencies"] == [python, "pip", {"pip": pinned}]
    virtualenv = _get_python_env(folder)  # what `--env-manager virtualenv` goes by
    assert virtualenv.python == platform.python_version()
    assert virtualenv.dependencies == ["-r requirements.txt"]


def test_the_description_holds_no_path_of_this_machine(trained):
    text = Path(model_folder(trained), "MLmodel").read_text()
    assert not re.search(r"(?<![\w.])/\w|file:|[A-Z]:\\", text)
    for folder in (REPOSITORY, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix)):
        assert str(folder) not in text


def test_no_model_of_the_user_collides(trained, loaded, images, tmp_path):
    (tmp_path / "model.py").write_text("ACTIVATIONS = 'of the user'\n")
    np.save(tmp_path / "images.npy", images[:5])
    code = (
        "import mlflow, numpy, sys; served = mlflow.pyfunc.load_model(sys.argv[1]);"
        "print(served.predict(numpy.load('images.npy'))['class'].tolist());"
        "import model; print(model.ACTIVATIONS, model.__file__, 'pipeline' in sys.modules)"
    )
    folder = Path(model_folder(trained))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    answers = loaded.predict(images[:5])["class"].tolist()
    assert done.stdout.splitlines() == [str(answers), f"of the user {tmp_path / 'model.py'} False"], done.stderr


def test_a_run_has_one_model_with_its_metrics(trained):
    (model,) = trained.store.models(trained.outcome.run_id)
    assert model.status == "READY"
    assert model.params["activation"] == "relu"
    assert {metric.key: metric.value for metric in model.metrics} == trained.outcome.metrics


def test_the_served_model_answers_over_http(trained, loaded, images, tmp_path):
    (tmp_path / "model.py").write_text("raise RuntimeError('this is the user's own module')\n")
    command = ("models", "serve", "--model-uri", trained.model, "--env-manager", "local")
    with mlflow_server(*command, log=tmp_path / "server.log", answering="/ping") as address:

        def ask(**body):
            return requests.post(f"{address}/invocations", json=body, timeout=60)

        def refused(**way):
            answer = requests.post(f"{address}/invocations", timeout=60, **way)
            assert answer.status_code == 400
            return answer.json()["message"]

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
        for wrong in ([[0] * 63], [["ink"] * 64], [[-1] * 64], [[0.5] * 64]):
            message = refused(json={"inputs": wrong})
            assert message.startswith("The pixels are ")  # and not with the pixels themselves
            assert message.endswith("in an array of shape (N, 64) or (N, 8, 8).")
        assert "inhomogeneous shape" in refused(json={"inputs": [[0] * 64, [0] * 63]})
        table = pd.DataFrame(images[:2].reshape(2, 64))
        for way in (
            {"json": {"dataframe_split": table.to_dict(orient="split")}},
            {"json": {"dataframe_records": table.to_dict(orient="records")}},
            {"data": table.to_csv(index=False), "headers": {"Content-Type": "text/csv"}},
        ):
            assert 'over HTTP JSON with the key "inputs"' in refused(**way)
