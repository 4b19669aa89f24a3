"""Doubt: a word for each prediction that is not to be trusted."""

import numpy as np
import pytest

from pipeline.data.doubt import classify


def images(*columns):
    """Light bars in 8 x 8, one in each image, in the given columns."""
    bars = np.zeros((len(columns), 8, 8), np.uint8)
    for bar, column in zip(bars, columns, strict=True):
        bar[2:6, column] = 255
    return bars


def by_place(lead):
    """A network that says 0 of what is left of column 4 and 1 of what is right of it, each by `lead`."""

    def predict(given):
        right = given[:, :, 4:].sum(axis=(1, 2)) > given[:, :, :4].sum(axis=(1, 2))
        scores = np.where(right[:, None], [0, lead, -5], [lead, 0, -5])
        return scores.argmax(axis=1).tolist(), scores.tolist()

    return predict


def test_a_sure_answer_has_no_doubt():
    [found] = classify(["a"], images(1), [""], by_place(9))
    assert found == ("a", 0, [9, 0, -5], "")


def test_a_class_that_changes_with_a_small_shift_is_unsteady():
    def shaky(given):
        is_here = given[:, 3, 4] > 0  # gone when the bar is shifted to the left or to the right
        return is_here.astype(int).tolist(), np.where(is_here[:, None], [0.0, 9.0], [9.0, 0.0]).tolist()

    assert [each.doubt for each in classify(["a", "b"], images(4, 1), ["", ""], shaky)] == ["unsteady", ""]


@pytest.mark.parametrize(("lead", "doubt"), [(0.1, "close"), (9, "")])
def test_scores_close_together_are_doubted(lead, doubt):
    assert classify(["a"], images(1), [""], by_place(lead))[0].doubt == doubt


def test_a_blank_image_has_no_class():
    blank, several = classify(["a", "b"], images(1, 6), ["blank", "several digits"], by_place(9))
    assert (blank.predicted, blank.doubt) == (None, "blank")
    assert (several.predicted, several.doubt) == (1, "several digits")
