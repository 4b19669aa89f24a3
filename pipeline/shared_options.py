"""The options that several commands share, for click to add to a command."""

import os
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, Final

import click

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import TrainingConfig, parse_init_std, parse_sizes
from pipeline.errors import UsageError
from pipeline.log import VERBOSE, show_log
from pipeline.options import FilePath, Optional, Text, WholeNumber

_Command = Callable[..., Any]

IS_DRY_RUN: Final = "pipeline.dry_run"
"""The key of click's context under which a command says whether it trains nothing."""

PATH = Optional(FilePath())
SIZES = Text("sizes", parse_sizes)
_TYPES: dict[str, click.ParamType[Any]] = {
    "hidden_sizes": SIZES,
    "activation": click.Choice(list(ACTIVATIONS)),
    "loss": click.Choice(list(LOSSES)),
    "init_std": Text("float|rule|float/...", parse_init_std),
}


def flag(name: str, text: str) -> Callable[[_Command], _Command]:
    """Declare an option with an optional value, `--force` or `--force true`, because MLproject always gives a value."""
    return click.option(name, is_flag=False, flag_value="true", type=bool, default=False, help=text)


def hyperparameters(*, without: tuple[str, ...] = (), **defaults: Any) -> Callable[[_Command], _Command]:
    """Declare an option for each field of TrainingConfig, under its name and with its default."""

    def add(command: _Command) -> _Command:
        for item in reversed(fields(TrainingConfig)):
            if item.name not in (*without, "validation"):
                default = defaults.get(item.name, item.default)
                command = click.option(
                    f"--{item.name.replace('_', '-')}",
                    type=_TYPES.get(item.name) or (WholeNumber() if type(item.default) is int else type(item.default)),
                    default=item.metadata["format"](default) if "format" in item.metadata else default,
                    show_default=True,
                    help=item.metadata["help"],
                )(command)
        return _gone(command)

    return add


def _refuse_hidden_layers(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise UsageError(
            f"hidden_layers is {value!r}, but there is no such option any more; give hidden_sizes, the units of each "
            "hidden layer: --hidden-sizes 128 or --hidden-sizes 256x64 (-P hidden_sizes=256x64)."
        )


_gone = click.option(
    "--hidden-layers", "--hidden_layers", hidden=True, expose_value=False, callback=_refuse_hidden_layers
)
"""An option of version 0.1. It has two spellings, because MLflow passes undeclared parameters with the underscore."""


def settings_options(*, many: bool) -> Callable[[_Command], _Command]:
    """Add the options that say where and how a command works; the command receives them as `settings`."""

    def add(command: _Command) -> _Command:
        @wraps(command)
        def with_settings(*, verbose: bool, **values: Any) -> None:
            from pipeline.training.networks import Settings

            if verbose:
                be_verbose()
            own = {item.name: values.pop(item.name) for item in fields(Settings) if item.name in values}
            settings = Settings(**own)
            click.get_current_context().meta[IS_DRY_RUN] = settings.dry_run
            command(settings=settings, **values)

        options: list[Callable[[_Command], _Command]] = [
            click.option("--data-dir", type=PATH, default="data", show_default=True, help="Folder of prepared data."),
            click.option("--source", type=PATH, help="Folder with the four idx files of the data set."),
            flag("--quiet", "No progress, only results."),
            flag("--verbose", "Show the log of the pipeline and of the libraries."),
        ]
        if many:
            options += [
                click.option("--workers", type=Optional(WholeNumber(1)), help="Processes; default: one a core."),
                click.option("--scheduler", type=Optional(click.STRING), help="Address of a Dask cluster to use."),
                click.option(
                    "--worker-timeout",
                    type=Optional(click.FloatRange(min=0)),
                    help="Seconds for which that cluster may have no worker; default: any time.",
                ),
            ]
        wrapped: _Command = with_settings
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped

    return add


TRIALS = click.option(
    "--trials",
    type=WholeNumber(1),
    default=30,
    show_default=True,
    help="Finished trials (complete, pruned or diverged) that the study shall have in the end.",
)
OUTPUT = click.option("--output", type=FilePath(), default="results", show_default=True, help="Folder of the report.")
FORCE = flag("--force", "Train again what is finished.")
DRY_RUN = flag("--dry-run", "Train nothing; say what would be trained, reused or gone on with, and how long.")
CHECKPOINTS = click.option(
    "--checkpoint-dir", type=PATH, default="checkpoints", show_default=True, help="Folder to resume from."
)
REGISTER = click.option(
    "--register", type=Optional(click.STRING), help="Registered model to put the best network into."
)


def be_verbose() -> None:
    """Show the log in this process and in those that it starts."""
    os.environ[VERBOSE] = "1"
    show_log()
