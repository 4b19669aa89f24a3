import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.fit import Position
from pipeline.tracking.store import Point
from pipeline.training.state import State, check_arrays

STATE = State(
    Position(2, 3, 1.5, 7, 9),
    12.5,
    13.5,
    {"processor": "Haswell"},
    [Point("train/loss", float("inf"), 1_700_000_000_123, 7)],
    [(1, 0.5)],
    2.5,
)
LENGTH = {"max_epoch": 5, "batches": 10}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def as_json(state):
    return json.loads(json.dumps(state.as_notes()))


def test_a_state_comes_back_from_json():
    assert State.from_notes(as_json(STATE), **LENGTH) == STATE


def test_a_state_of_version_0_1_0_lacks_what_came_later():
    notes = as_json(STATE)
    for name in ("core_seconds", "computed_with", "first_loss"):
        del notes[name]
    assert State.from_notes(notes, **LENGTH) == replace(STATE, core_seconds=0.0, computed_with={}, first_loss=None)


@given(st.sampled_from(list(as_json(STATE))), JSON)
def test_any_other_value_is_used_or_refused(name, value):
    try:
        state = State.from_notes(as_json(STATE) | {name: value}, **LENGTH)
    except (KeyError, TypeError, ValueError, AttributeError):
        return
    assert 0 <= state.position.epoch <= 5
    assert State.from_notes(as_json(state), **LENGTH).position == state.position


@pytest.mark.parametrize(
    "position",
    [
        {"epoch": 6},
        {"batch": 10},
        {"batch": -1},
        {"epoch": True},
        {"epoch": 1.0},
        {"window_loss": "1"},
        {"window_correct": 2, "window_examples": 1},
        {"unknown": 1},
    ],
)
def test_a_position_that_no_training_of_this_length_has_is_refused(position):
    with pytest.raises((TypeError, ValueError)):
        State.from_notes(as_json(STATE) | {"position": position}, **LENGTH)


@pytest.mark.parametrize(
    "found", [np.zeros((2, 3)), np.zeros((3, 2), np.float32), np.zeros((2, 3), "<U1"), np.zeros(())]
)
def test_arrays_of_other_shapes_or_types_are_refused(found):
    expected = {"weight": np.zeros((2, 3), np.float32)}
    check_arrays(expected, expected)
    with pytest.raises(ValueError, match="weight is"):
        check_arrays({"weight": found}, expected)
    with pytest.raises(KeyError):
        check_arrays({}, expected)
