"""Measure this project, and others beside it: `python -m benchmarks`."""

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final

import click

from benchmarks.contenders import CONTENDERS
from benchmarks.processes import exit_on_signals
from benchmarks.section import Figure, Section, Settings

_EPOCHS: Final = 5
_WHOLE_EPOCHS: Final = 200
_GRID_EPOCHS: Final = 20
_ROUNDS: Final = 5


def sections(settings: Settings) -> list[Section]:
    """All sections of the report, in their order."""
    from benchmarks.command_line import CommandLine
    from benchmarks.libraries import Libraries
    from benchmarks.one_core import DenseLimits, TrackedRuns
    from benchmarks.workers import Workers

    kinds: list[type[Section]] = [Libraries, DenseLimits, TrackedRuns, Workers, CommandLine]
    return [kind(settings, lambda text: click.echo(f"  {text}", err=True)) for kind in kinds]


def measured(settings: Settings) -> list[Section]:
    """Have every section measure in every round, one after the other, so that the machine's moods meet all alike."""
    found = sections(settings)
    with ExitStack() as stack:
        for section in found:
            section.open(stack)
        for number in range(settings.rounds):
            click.echo(f"round {number + 1} of {settings.rounds}", err=True)
            for section in found:
                if number % section.every == 0:
                    section.measure()
    return found


def document(found: Sequence[Section], command: str, minutes: float) -> str:
    """The report."""
    from benchmarks.machine import machine

    origin = (
        f"Every figure was measured in one run of\n\n    {command}\n\non {datetime.now(UTC):%Y-%m-%d}, in "
        f"{minutes:.0f} minutes. Whatever is compared was measured in turn, round after round; figures are medians "
        "over the rounds."
    )
    parts = [
        "# Benchmarks",
        origin,
        machine(),
        "## At a glance",
        _summary(figure for section in found for figure in section.figures()),
    ]
    for section in found:
        parts += [f"## {section.title}", section.markdown()]
    return "\n\n".join(parts) + "\n"


def _summary(figures: Iterable[Figure]) -> str:
    from pipeline.display.tables import markdown_table

    rows = [[each.text, each.value, each.aim, "yes" if each.reached else "**no**"] for each in figures]
    return markdown_table(rows, ["figure", "measured", "aim", "reached"])


def _chosen(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in CONTENDERS]:
        raise click.BadParameter(f"{', '.join(unknown)}; choose from {', '.join(CONTENDERS)}")
    return names


def _command(settings: Settings) -> str:
    """The command that measures this, without the folders, which are the user's own."""
    options = {
        "dataset": (settings.dataset, "mnist"),
        "epochs": (settings.epochs, _EPOCHS),
        "whole-epochs": (settings.whole_epochs, _WHOLE_EPOCHS),
        "grid-epochs": (settings.grid_epochs, _GRID_EPOCHS),
        "rounds": (settings.rounds, _ROUNDS),
        "contenders": (",".join(settings.contenders), ",".join(CONTENDERS)),
    }
    return " ".join(
        ["python -m benchmarks", *(f"--{name} {value}" for name, (value, usual) in options.items() if value != usual)]
    )


_COUNT = click.IntRange(min=1)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True, help="Prepared data.")
@click.option("--dataset", default="mnist", show_default=True, help="A prepared data set.")
@click.option("--epochs", type=_COUNT, default=_EPOCHS, show_default=True, help="Of each training beside libraries.")
@click.option("--whole-epochs", type=_COUNT, default=_WHOLE_EPOCHS, show_default=True, help="Of each tracked run.")
@click.option("--grid-epochs", type=_COUNT, default=_GRID_EPOCHS, show_default=True, help="Of the grids for scaling.")
@click.option("--rounds", type=_COUNT, default=_ROUNDS, show_default=True, help="Of everything; of long runs, half.")
@click.option(
    "--contenders", callback=_chosen, default=",".join(CONTENDERS), show_default=True, help="Separated by commas."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="docs/benchmarks.md",
    show_default=True,
    help="Report to write.",
)
def main(data_dir: Path, output: Path, **values: object) -> None:
    """Measure speed, scaling, memory and the cost of tracking; write a report in markdown, and print it."""
    from pipeline.data.datasets import load
    from pipeline.errors import PipelineError

    exit_on_signals()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = Settings(data_dir=data_dir.resolve(), folder=Path(folder), **values)  # type: ignore[arg-type]
        try:
            load(settings.dataset, settings.data_dir)
        except PipelineError as error:
            raise click.ClickException(str(error)) from error
        started = monotonic()
        found = measured(settings)
        text = document(found, _command(settings), (monotonic() - started) / 60)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    click.echo(text)


if __name__ == "__main__":
    main()
