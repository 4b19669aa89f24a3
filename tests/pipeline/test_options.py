import click
import pytest

from pipeline.options import WholeNumber


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("1e2", 100), ("100.0", 100), ("-3", -3), ("9" * 20, int("9" * 20))]
)
def test_a_whole_number_may_be_written_as_a_float(text, number):
    converted = WholeNumber().convert(text, None, None)
    assert converted == number
    assert isinstance(converted, int)


@pytest.mark.parametrize("text", ["1.5", "many", "inf", "nan", ""])
def test_what_is_no_whole_number_is_named(text):
    with pytest.raises(click.BadParameter, match=f"^'{text}' is not a whole number"):
        WholeNumber().convert(text, None, None)


def test_a_number_that_is_too_small_is_named_with_the_least():
    assert WholeNumber(1).convert("1", None, None) == 1
    with pytest.raises(click.BadParameter, match="0 is too small; it has to be a whole number from 1 up"):
        WholeNumber(1).convert("0", None, None)
