"""The predictions of a network for images, with a warning word for each doubtful prediction."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from pipeline.data.datasets import Images

Predict = Callable[[Images], tuple[list[int], list[list[float]]]]
"""Gives the class of each image and the scores of all classes."""

_CLOSE: Final = 0.1
"""A prediction is "close" if the best score leads the second by less than this share of its lead over the mean."""
_UNSTEADY: Final = 2
"""A prediction is "unsteady" if at least this many of the four shifts by one pixel change the class."""


class Prediction(NamedTuple):
    """The prediction of a network for one image.

    Attributes:
        name: name of the image.
        predicted: the predicted class, or None if the image is blank.
        scores: the scores of all classes.
        doubt: a word that says why the class may be wrong, or "".
    """

    name: str
    predicted: int | None
    scores: Sequence[float]
    doubt: str


def classify(names: Sequence[str], images: Images, doubts: Sequence[str], predict: Predict) -> list[Prediction]:
    """Classify images and mark doubtful predictions.

    Args:
        names: names of the images.
        images: (n, rows, columns), in the form that the network was trained on.
        doubts: for each image a doubt that is already known from its picture, such as "blank", or "".
        predict: the network.

    Returns:
        A prediction for each image. Its doubt is the known one; otherwise "unsteady" if the class changes when the
        image is shifted by a pixel, or "close" if the two best scores are nearly equal.
    """
    classes, scores = predict(images)
    shifted = [predict(np.roll(images, step, axis))[0] for axis in (1, 2) for step in (1, -1)]
    changes = (np.array(shifted) != classes).sum(axis=0)
    return [
        Prediction(
            name,
            None if doubt == "blank" else predicted,
            of_all,
            doubt or ("unsteady" if changed >= _UNSTEADY else "close" if _is_close(of_all) else ""),
        )
        for name, predicted, of_all, doubt, changed in zip(names, classes, scores, doubts, changes, strict=True)
    ]


def _is_close(scores: Sequence[float]) -> bool:
    *_, second, best = sorted(scores)
    return best - second < _CLOSE * (best - float(np.mean(scores)))
