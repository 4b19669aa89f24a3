"""The types of command-line options that click lacks."""

from typing import Any

import click


class WholeNumber(click.ParamType[int]):
    """A whole number, also written as a float, 1e2 or 100.0, because MLproject knows floats only."""

    name = "integer"

    def __init__(self, minimum: int | None = None) -> None:
        """Accept numbers from `minimum` up, or any."""
        self.minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a text that is none is refused in one line."""
        number = _whole(str(value))
        if number is None:
            self.fail(f"{value!r} is not a whole number.", param, ctx)
        if self.minimum is not None and number < self.minimum:
            self.fail(f"{value} is too small; it has to be a whole number from {self.minimum} up.", param, ctx)
        return number


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
        return int(number) if number.is_integer() else None
    except (ValueError, OverflowError):
        return None
