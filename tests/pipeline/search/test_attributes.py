from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.search.attributes import enqueued, outside, owner, run_of, train_seconds

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def trial(value):
    names = ("outside_space", "search_run", "run_id", "train_seconds", "fixed_params")
    return SimpleNamespace(user_attrs=dict.fromkeys(names, value), system_attrs=dict.fromkeys(names, value))


@given(ANYTHING)
def test_an_attribute_has_the_type_that_the_search_writes_or_counts_as_missing(value):
    found = trial(value)
    for mapping in (outside(found), enqueued(found)):
        assert mapping == (value if isinstance(value, dict) else {})
    assert owner(found) == (value if isinstance(value, str) and value else None)
    assert run_of(found) == (value if isinstance(value, str) else "")
    seconds = train_seconds(found)
    assert seconds is None or (isinstance(seconds, float) and 0 <= seconds < float("inf"))


@pytest.mark.parametrize(("value", "seconds"), [(2, 2.0), (0.5, 0.5), (True, None), (float("nan"), None), (-1, None)])
def test_seconds_are_a_finite_number_from_0_up(value, seconds):
    assert train_seconds(trial(value)) == seconds


def test_what_is_missing_is_empty():
    nothing = SimpleNamespace(user_attrs={}, system_attrs={})
    assert (outside(nothing), enqueued(nothing), owner(nothing), run_of(nothing)) == ({}, {}, None, "")
    assert train_seconds(nothing) is None
