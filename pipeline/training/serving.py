"""A trained network as an MLflow model: a folder with description, code in one file, weights and requirements.

This module writes the folder itself, because `mlflow.pyfunc.save_model` runs the code, searches all installed packages,
writes the absolute path of the code into the description, and adds the project files of users of uv.
"""

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import add_to_model
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

import model
from model.network import Network
from pipeline.training import classifier
from pipeline.training.bundle import bundle

_CODE: Final = "serving.py"
_WEIGHTS: Final = "weights.npz"
_REQUIREMENTS: Final = "requirements.txt"
_CONDA: Final = "conda.yaml"
_PYTHON: Final = "python_env.yaml"
_SIGNATURE: Final = ModelSignature(
    # The inputs have no schema, because MLflow can describe only one of the two accepted shapes. With a schema, MLflow
    # would also refuse tables before the model can say which JSON it expects.
    outputs=Schema([ColSpec(DataType.long, "class"), ColSpec(Array(DataType.double), "scores")])
)


def save(
    folder: Path, network: Network, activation: str, image_shape: tuple[int, int], *, run_id: str, model_id: str
) -> None:
    """Write a network as an MLflow model.

    Args:
        folder: the folder to create.
        network: the trained network.
        activation: the activation of its last hidden layer.
        image_shape: rows and columns of its input images.
        run_id: id of the run that trained the network.
        model_id: the model's id in MLflow.
    """
    folder.mkdir(parents=True)
    np.savez(folder / _WEIGHTS, allow_pickle=False, **network.weights())
    (folder / _CODE).write_text(_code(), encoding="utf-8")
    _write_requirements(folder)
    description = Model(
        artifact_path="model",
        run_id=run_id,
        model_id=model_id,
        model_uuid=model_id,
        signature=_SIGNATURE,
        metadata={"input": classifier.expected(image_shape)},
        model_size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
    )
    add_to_model(  # type: ignore[no-untyped-call]
        description,
        loader_module="mlflow.pyfunc.loaders.code_model",
        model_code_path=_CODE,
        model_config={"activation": activation, "image_shape": list(image_shape)},
        conda_env=_CONDA,
        python_env=_PYTHON,
        artifacts={"weights": {"path": _WEIGHTS, "uri": _WEIGHTS}},
        streamable=False,
    )
    description.save(str(folder / "MLmodel"))


@cache
def _code() -> str:
    return bundle(Path(classifier.__file__), Path(model.__file__).parent)


def _write_requirements(folder: Path) -> None:
    """Write the packages that the code needs.

    There is no python_env.yaml, because each file is a request: MLflow then reads Python's version from conda.yaml.
    """
    requirements = [f"{library}=={version(library)}" for library in ("mlflow", "numpy", "pandas")]
    python = platform.python_version()
    (folder / _REQUIREMENTS).write_text("".join(f"{each}\n" for each in requirements))
    (folder / _CONDA).write_text(
        f"name: mlflow-env\nchannels:\n- conda-forge\ndependencies:\n- python={python}\n- pip\n- pip:\n"
        + "".join(f"  - {each}\n" for each in requirements)
    )
