"""The types of command-line options that click lacks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

_T = TypeVar("_T")


class WholeNumber(click.ParamType[int]):
    """A whole number; 1e2 and 100.0 are accepted as well, because MLproject knows floats only."""

    name = "integer"

    def __init__(self, minimum: int | None = None) -> None:
        """Accept numbers from `minimum` up, or any."""
        self.minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; fail with one line if the text is not a whole number."""
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


class Text(click.ParamType[Any]):
    """A value that `parse` reads; `parse` raises UsageError for a text that it cannot read."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        """Read values with `parse`; `name` stands for them in the help."""
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Return the result of `parse`."""
        return self.parse(value) if isinstance(value, str) else value


class Several(click.ParamType[Any], Generic[_T]):
    """Values of another type, separated by commas."""

    def __init__(self, item: click.ParamType[Any]) -> None:
        """Read each value as `item` does."""
        self.item = item
        self.name = f"{item.name},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the list of values, which is empty for an empty text."""
        if not isinstance(value, str):
            return value
        return [self.item.convert(part.strip(), param, ctx) for part in value.split(",") if part.strip()]


class Optional(click.ParamType[Any]):
    """Another type, or None for an empty text, because MLproject has no other way to omit a parameter."""

    def __init__(self, item: click.ParamType[Any]) -> None:
        """Read a text that is not empty as `item` does."""
        self.item = item
        self.name = item.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value, or None."""
        return None if value == "" else self.item.convert(value, param, ctx)


class FilePath(click.Path):
    """A path in which `~` stands for the home folder: `mlflow run` quotes its parameters, so no shell replaces it."""

    def __init__(self) -> None:
        """Accept any path, because the command itself checks whether the path exists."""
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path with the home folder in place of `~`."""
        path = Path(str(super().convert(value, param, ctx)))
        try:
            return path.expanduser()
        except RuntimeError:  # the home of a user that this machine does not know
            return path
