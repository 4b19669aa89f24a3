import pytest


@pytest.mark.parametrize(
    "run_id", ["", "a' or attributes.status = 'FINISHED", 'a"', "../x", "\x1b[2J", "x" * 65, "a\n"]
)
def test_what_cannot_be_the_id_of_a_run_names_none(store, run_id):
    assert store.find(run_id) is None
    assert store.is_over(run_id) is False
