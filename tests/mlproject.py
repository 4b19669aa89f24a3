"""Write MLproject from the options of the command line: python -m tests.mlproject.

Every command is an entry point, and every option a parameter with the option's default; `mlflow run .` alone is the
whole reproduction. A test compares the file with what this writes.
"""

import textwrap
from pathlib import Path
from typing import Any, Final

import click

from pipeline.cli import main

MLPROJECT: Final = Path(__file__).resolve().parent.parent / "MLproject"
ENTRY_POINTS: Final = {"main": "reproduce", **{name: name for name in main.commands if name != "reproduce"}}
PATHS: Final = ("images",)
"""Parameters that name something that has to exist: MLflow makes them absolute before it changes the folder."""
WIDTH: Final = 120


def text() -> str:
    """The whole file."""
    entries = "\n".join(_entry(point, main.commands[command]) for point, command in ENTRY_POINTS.items())
    return (
        "# Written by python -m tests.mlproject from the options of the command line.\n"
        f"name: mlp-experiments\n\nconda_env: conda.yaml\n\nentry_points:\n{entries}"
    )


def _entry(point: str, command: click.Command) -> str:
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    help_text = textwrap.wrap((command.help or "").partition("\n\n")[0], WIDTH - 4)
    comment = "".join(f"  # {line}\n" for line in help_text)
    parameters = "".join(_parameter(option) for option in options)
    passed = " ".join(f"{option.opts[0]} {{{_name(option)}}}" for option in options)
    words = textwrap.wrap(f"python -m pipeline {command.name} {passed}", WIDTH - 6, break_on_hyphens=False,
                          break_long_words=False)  # fmt: skip
    lines = "".join(f"      {line}\n" for line in words)
    return f"{comment}  {point}:\n    parameters:\n{parameters}    command: >-\n{lines}"


def _name(option: click.Option) -> str:
    return option.opts[0].removeprefix("--").replace("-", "_")


def _parameter(option: click.Option) -> str:
    name, kind = _name(option), "path" if _name(option) in PATHS else "string"
    described = f"      {name}: {kind}" if option.required else f"      {name}: {_described(option)}"
    return f"{described}{f'  # {option.help}' if option.help else ''}\n"


def _described(option: click.Option) -> str:
    default = option.default
    if isinstance(default, int | float) and not isinstance(default, bool):
        return f"{{type: float, default: {default}}}"
    return f"{{type: string, default: {_quoted(default)}}}"


def _quoted(default: Any) -> str:
    if default is None or not isinstance(default, str | bool):
        return '""'
    return f'"{str(default).lower() if isinstance(default, bool) else default}"'


if __name__ == "__main__":
    MLPROJECT.write_text(text(), encoding="utf-8")
