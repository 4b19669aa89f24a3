"""What a network predicts for images, and a word for each prediction that is not to be trusted."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from pipeline.data.datasets import Images

Predict = Callable[[Images], tuple[list[int], list[list[float]]]]
"""Gives the class of each image and the scores of all classes."""

_CLOSE: Final = 0.1
"""The lead of the best score over the second, as a share of its lead over the mean of all, that is too small."""
_UNSTEADY: Final = 2
"""Of the four shifts by a pixel, how many have to change the class."""


class Prediction(NamedTuple):
    """What a network says of one image.

    Attributes:
        name: of the image.
        predicted: its class, or None where the image is blank.
        scores: of all classes.
        doubt: a word that says why the class may be wrong, or "".
    """

    name: str
    predicted: int | None
    scores: Sequence[float]
    doubt: str


def classify(names: Sequence[str], images: Images, doubts: Sequence[str], predict: Predict) -> list[Prediction]:
    """Classify images and look for doubt.

    Args:
        names: of the images.
        images: (n, rows, columns), as the network takes them.
        doubts: what the pictures themselves give reason for, as "blank", or "".
        predict: the network.

    Returns:
        A prediction for each image. Its doubt is the one given, else "unsteady" where the class changes when the
        image is shifted by a pixel, or "close" where two scores are nearly the same.
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
