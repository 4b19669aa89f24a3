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
from benchmarks.kinds import EMULATIONS
from benchmarks.kinds import emulate as set_emulation
from benchmarks.processes import exit_on_signals
from benchmarks.section import Figure, Section, Settings

_EPOCHS: Final = 5
_WHOLE_EPOCHS: Final = 200
_GRID_EPOCHS: Final = 20
_ROUNDS: Final = 5
_QUICK_SECONDS: Final = 290


def sections(settings: Settings) -> list[Section]:
    """All sections of the report, in their order."""
    from benchmarks.command_line import CommandLine
    from benchmarks.libraries import Libraries
    from benchmarks.one_core import DenseLimits, TrackedRuns
    from benchmarks.workers import Workers

    kinds: list[type[Section]] = [Libraries, DenseLimits, TrackedRuns, Workers, CommandLine]
    return [kind(settings, _say) for kind in kinds]


def measured(settings: Settings) -> tuple[list[Section], str]:
    """Have every section measure in every round, one after the other, so that the machine's moods meet all alike.

    Returns:
        The sections, and why the machine was too noisy to judge them; empty if it was quiet.
    """
    from benchmarks.noise import Noise

    found = sections(settings)
    with ExitStack() as stack:
        for section in found:
            section.open(stack)
        noise = Noise(stack)
        for number in range(settings.rounds):
            click.echo(f"round {number + 1} of {settings.rounds}", err=True)
            for section in found:
                noise.look()
                if number % section.every == 0:
                    section.measure()
        return found, noise.verdict()


def part(found: Sequence[Section], command: str, minutes: float) -> str:
    """The part of the report that is about this machine's kind of processor."""
    from benchmarks.machine import machine

    origin = (
        f"Every figure was measured in one run of\n\n    {command}\n\non {datetime.now(UTC):%Y-%m-%d}, in "
        f"{minutes:.0f} minutes. Whatever is compared was measured in turn, round after round; figures are medians "
        "over the rounds."
    )
    texts = [
        origin,
        machine(),
        "### At a glance",
        _summary(figure for section in found for figure in section.figures()),
    ]
    for section in found:
        texts += [f"### {section.title}", section.markdown()]
    return "\n\n".join(texts)


def _summary(figures: Iterable[Figure]) -> str:
    from pipeline.display.tables import markdown_table

    rows = [[each.text, each.value, each.aim, "yes" if each.reached else "**no**"] for each in figures]
    return markdown_table(rows, ["figure", "measured", "aim", "reached"])


def _chosen(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in CONTENDERS]:
        raise click.BadParameter(f"{', '.join(unknown)}; choose from {', '.join(CONTENDERS)}")
    return names


def _command(settings: Settings, emulated: str | None) -> str:
    """The command that measures this, without the folders, which are the user's own."""
    options = {
        "dataset": (settings.dataset, "mnist"),
        "epochs": (settings.epochs, _EPOCHS),
        "whole-epochs": (settings.whole_epochs, _WHOLE_EPOCHS),
        "grid-epochs": (settings.grid_epochs, _GRID_EPOCHS),
        "rounds": (settings.rounds, _ROUNDS),
        "contenders": (",".join(settings.contenders), ",".join(CONTENDERS)),
        "emulate": (emulated, None),
    }
    return " ".join(
        ["python -m benchmarks", *(f"--{name} {value}" for name, (value, usual) in options.items() if value != usual)]
    )


def _measure_quickly(settings: Settings) -> None:
    """Print the main ratios.

    Raises:
        SystemExit: the machine was too noisy to judge them.
    """
    from benchmarks.noise import EXIT_STATUS
    from benchmarks.quick import Quick, text

    started = monotonic()
    with ExitStack() as stack:
        quick = Quick(settings, _say)
        quick.open(stack)
        rounds = quick.measure(started + _QUICK_SECONDS)
        verdict = quick.noise.verdict()
    click.echo(text(quick, rounds, (monotonic() - started) / 60, verdict))
    if verdict:
        raise SystemExit(EXIT_STATUS)


def _measure_all(settings: Settings, output: Path, command: str) -> None:
    """Print the part of the report that is about this machine, and put it into the document.

    Raises:
        SystemExit: the machine was too noisy to judge it; the document stays as it was.
    """
    from benchmarks.kinds import kind
    from benchmarks.noise import EXIT_STATUS
    from benchmarks.parts import with_part

    started = monotonic()
    found, verdict = measured(settings)
    text = part(found, command, (monotonic() - started) / 60)
    click.echo(text)
    if verdict:
        click.echo(f"\n{verdict} {output} stays as it was.")
        raise SystemExit(EXIT_STATUS)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(with_part(output.read_text() if output.exists() else "", kind(), text))


def _say(text: str) -> None:
    click.echo(f"  {text}", err=True)


_COUNT = click.IntRange(min=1)


@click.command()
@click.option("--quick", is_flag=True, help="Only the main ratios, in five minutes; writes no report.")
@click.option("--emulate", type=click.Choice(list(EMULATIONS)), help="Cap all libraries, to be another processor.")
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True, help="Prepared data.")
@click.option("--dataset", default="mnist", show_default=True, help="A prepared data set.")
@click.option("--epochs", type=_COUNT, help=f"Of each training beside libraries.  [default: {_EPOCHS}; quick: 1]")
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
    help="Report in which the part of this kind of processor is written.",
)
def main(
    data_dir: Path, output: Path, *, quick: bool, emulate: str | None, epochs: int | None, **values: object
) -> None:
    """Measure speed, scaling, memory and the cost of tracking; write a report in markdown, and print it.

    The exit status is 3, and no result is given, if other work on this machine made the measurements too noisy to
    judge: if a fixed NumPy job's time varied by more than 10 % between its quartiles, or if other processes had more
    than 5 % of the cores' time.
    """
    if emulate:
        set_emulation(emulate)
    from pipeline.data.datasets import load
    from pipeline.errors import PipelineError

    exit_on_signals()
    epochs = epochs or (1 if quick else _EPOCHS)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = Settings(data_dir=data_dir.resolve(), folder=Path(folder), epochs=epochs, **values)  # type: ignore[arg-type]
        try:
            load(settings.dataset, settings.data_dir)
        except PipelineError as error:
            raise click.ClickException(str(error)) from error
        if quick:
            _measure_quickly(settings)
        else:
            _measure_all(settings, output, _command(settings, emulate))


if __name__ == "__main__":
    main()
