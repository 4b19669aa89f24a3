"""A trained network as an MLflow model: raw pixels in, class and scores out.

MLflow stores this file with the model and runs it wherever the model is loaded; `model/` and the weights, a NumPy
archive without objects, travel along. So it imports nothing of the pipeline.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array
from numpy.typing import NDArray

import model
from model.activations import ACTIVATIONS
from model.network import Network

_SIGNATURE = ModelSignature(
    # MLflow has no word for "one of two shapes": the model itself checks what it is given.
    inputs=Schema([TensorSpec(np.dtype(object), (-1,))]),
    outputs=Schema([ColSpec(DataType.long, "class"), ColSpec(Array(DataType.double), "scores")]),
)


def save(
    folder: Path, network: Network, activation: str, example: NDArray[np.uint8], *, run_id: str, model_id: str
) -> None:
    """Write a network as an MLflow model.

    Args:
        folder: to be made.
        network: trained.
        activation: of its last hidden layer.
        example: images as it takes them, (N, rows, columns).
        run_id: of the run that trained it.
        model_id: under which MLflow keeps it.
    """
    shape = list(example.shape[1:])
    with tempfile.TemporaryDirectory() as temporary, _requirements_as_stated():
        weights = Path(temporary, "weights.npz")
        np.savez(weights, allow_pickle=False, **network.weights())
        save_model(
            folder,
            python_model=__file__,
            artifacts={"weights": str(weights)},
            code_paths=[str(Path(model.__file__).parent)],
            model_config={"activation": activation, "image_shape": shape},
            signature=_SIGNATURE,
            input_example=example,
            pip_requirements=[f"{library}=={version(library)}" for library in ("mlflow", "numpy", "pandas")],
            metadata={"input": _expected(shape)},
            mlflow_model=Model(artifact_path="model", run_id=run_id, model_id=model_id, model_uuid=model_id),
        )


@contextmanager
def _requirements_as_stated() -> Iterator[None]:
    """Keep MLflow from reading the files of every installed package, for half a second, to see whether ours are."""
    environment: Any = import_module("mlflow.utils.environment")
    check = environment.warn_dependency_requirement_mismatches
    environment.warn_dependency_requirement_mismatches = lambda _requirements: None
    try:
        yield
    finally:
        environment.warn_dependency_requirement_mismatches = check


class Classifier(PythonModel):
    """Classifies images; `predict` is what `mlflow.pyfunc` and the scoring server call."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network from the model's files."""
        config = context.model_config
        self.image_shape = tuple(config["image_shape"])
        with np.load(context.artifacts["weights"], allow_pickle=False) as archive:
            self.network = Network.from_weights(dict(archive), ACTIVATIONS[config["activation"]]())

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """Classify images.

        Args:
            context: of MLflow, as `params` is; unused.
            model_input: numbers from 0 (background) to 255 (ink), of shape (N, 784) or (N, 28, 28) for images of
                28 x 28.
            params: unused.

        Returns:
            A row for each image: its class, and the scores of all classes.

        Raises:
            MlflowException: for pixels of another shape, type or range, naming those that are expected.
        """
        scores = self.network.predict(self._images(model_input))
        return pd.DataFrame({"class": scores.argmax(axis=1), "scores": scores.tolist()})

    def _images(self, given: Any) -> NDArray[Any]:
        """The pixels as (N, features); those that came as JSON are in an array of objects."""
        try:
            pixels = np.asarray(given)
            if pixels.dtype == object:
                pixels = np.array(pixels.tolist())
        except ValueError:
            raise self._refusal("lists of different lengths") from None
        features = int(np.prod(self.image_shape))
        if pixels.dtype.kind not in "uif":
            raise self._refusal(f"values of type {pixels.dtype}")
        if pixels.shape[1:] not in ((features,), self.image_shape):
            raise self._refusal(f"an array of shape {pixels.shape}")
        if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 255):  # noqa: PLR2004 - so nan is refused as well
            raise self._refusal(f"values from {pixels.min()} to {pixels.max()}")
        return pixels.reshape(-1, features)

    def _refusal(self, given: str) -> MlflowException:
        text = f"The pixels are {given}; expected are {_expected(self.image_shape)}."
        return MlflowException(text, error_code=INVALID_PARAMETER_VALUE)


def _expected(shape: Sequence[int]) -> str:
    rows, columns = shape
    shapes = f"(N, {rows * columns}) or (N, {rows}, {columns})"
    return f"numbers from 0 (background) to 255 (ink) in an array of shape {shapes}"


set_model(Classifier())
