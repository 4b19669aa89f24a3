"""The code of a stored model: it takes raw pixels and gives classes and scores.

`serving.save` joins this module and the modules of `model/` that it needs into one file, which MLflow runs where the
model is loaded. Therefore this module imports nothing else from this project.
"""

from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from model.activations import ACTIVATIONS
from model.network import Network


class Classifier(PythonModel):
    """Classifies images; `mlflow.pyfunc` and the scoring server call `predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network from the model's files."""
        config = context.model_config
        self.image_shape = tuple(config["image_shape"])
        with np.load(context.artifacts["weights"], allow_pickle=False) as archive:
            self.network = Network.from_weights(dict(archive), ACTIVATIONS[config["activation"]]())

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """Classify images.

        Args:
            context: passed by MLflow; unused.
            model_input: numbers from 0 (background) to 255 (ink), of shape (N, 784) or (N, 28, 28) for images of
                28 x 28.
            params: passed by MLflow; unused.

        Returns:
            A row for each image, with its class and the scores of all classes.

        Raises:
            MlflowException: the pixels have another shape, type or range; the message names the expected ones.
        """
        scores = self.network.predict(self._pixels(model_input))
        return pd.DataFrame({"class": scores.argmax(axis=1), "scores": scores.tolist()})

    def _pixels(self, given: Any) -> NDArray[Any]:
        """Check the pixels, and give them as (N, features)."""
        if isinstance(given, pd.DataFrame):
            raise self._refusal("a table, as dataframe_split, dataframe_records and csv give", _INPUTS)
        if isinstance(given, dict):
            raise self._refusal("a dictionary", _INPUTS)
        try:
            pixels = np.asarray(given)
        except ValueError:
            raise self._refusal("lists of different lengths") from None
        features = int(np.prod(self.image_shape))
        if pixels.dtype.kind not in "uif":
            raise self._refusal(f"values of type {pixels.dtype}")
        if pixels.shape[1:] not in ((features,), self.image_shape):
            raise self._refusal(f"an array of shape {pixels.shape}")
        if pixels.size:
            self._check_range(pixels)
        return pixels.reshape(-1, features)

    def _check_range(self, pixels: NDArray[Any]) -> None:
        lowest, highest = pixels.min(), pixels.max()
        if not (lowest >= 0 and highest <= 255):  # noqa: PLR2004 - so nan is refused as well
            raise self._refusal(f"values from {lowest} to {highest}")
        if pixels.dtype.kind == "f" and 0 < highest <= 1:
            raise self._refusal(f"floats from {lowest} to {highest}, as if they had been divided by 255")

    def _refusal(self, given: str, hint: str = "") -> MlflowException:
        return _Refusal(
            f"The pixels are {given}; expected are {expected(self.image_shape)}{hint}.",
            error_code=INVALID_PARAMETER_VALUE,
        )


class _Refusal(MlflowException):
    """An error with a fixed message, because MLflow's scoring server would put all pixels before the message."""

    @property
    def message(self) -> str:
        return self._message

    @message.setter
    def message(self, text: str) -> None:
        self._message: str = getattr(self, "_message", text)


_INPUTS = ': in Python an array, over HTTP JSON with the key "inputs", as in {"inputs": [[0, 255, ...], ...]}'


def expected(image_shape: tuple[int, ...]) -> str:
    """Describe in words the pixels that a network for images of this shape accepts."""
    rows, columns = image_shape
    shapes = f"(N, {rows * columns}) or (N, {rows}, {columns})"
    return f"numbers from 0 (background) to 255 (ink) in an array of shape {shapes}"


set_model(Classifier())
