"""The command line: one command for each entry point of MLproject; it parses its options and calls `commands`."""

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import TrainingConfig
from pipeline.encoding import readable, refuse_unreadable
from pipeline.errors import PipelineError
from pipeline.experiments import OPEN_STUDIES, STUDIES
from pipeline.options import FilePath, Optional, Several, WholeNumber
from pipeline.output import notice
from pipeline.search.space import DEFAULT_SPACE
from pipeline.shared_options import (
    CHECKPOINTS,
    DRY_RUN,
    FORCE,
    IS_DRY_RUN,
    OUTPUT,
    PATH,
    REGISTER,
    SIZES,
    TRIALS,
    be_verbose,
    flag,
    hyperparameters,
    settings_options,
)

if TYPE_CHECKING:
    from pipeline.training.networks import Settings

_ARGUMENTS = "pipeline.arguments"
"""The key of click's context under which it keeps the arguments as the user typed them."""


def _record_failure(ctx: click.Context, reason: str) -> None:
    """Record name and reason on the run that `mlflow run` created, because the command failed before it could."""
    if os.environ.get("MLFLOW_RUN_ID"):
        from pipeline.tracking.launcher import record_failure

        record_failure(ctx.invoked_subcommand or "", [readable(text) for text in ctx.meta[_ARGUMENTS]], reason)


def _record_dry_run(ctx: click.Context) -> None:
    """Describe the run that `mlflow run` created, because a dry run creates none of its own."""
    if os.environ.get("MLFLOW_RUN_ID"):
        from pipeline.tracking.launcher import record_dry_run

        record_dry_run(ctx.invoked_subcommand or "", ctx.meta[_ARGUMENTS])


class _OneLineErrors(click.Group):
    """A group whose commands print one clear line for each error that the user can correct."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            refuse_unreadable(ctx.meta[_ARGUMENTS])
            result = super().invoke(ctx)
        except PipelineError as error:
            notice(f"Error: {error}")
            _record_failure(ctx, str(error))
            ctx.exit(error.exit_code)
        except click.UsageError as error:
            _record_failure(ctx, error.format_message())
            raise
        except KeyboardInterrupt:
            notice("Stopped. Run the same command again to go on.")
            ctx.exit(130)
        if ctx.meta.get(IS_DRY_RUN):
            _record_dry_run(ctx)
        return result


def _parameters(values: dict[str, Any]) -> dict[str, str]:
    """Convert parameters to the texts that MLflow keeps."""
    return {name: _text(name, value) for name, value in values.items()}


def _text(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_text(name, each) for each in value)
    form = {item.name: item.metadata.get("format", str) for item in fields(TrainingConfig)}.get(name, str)
    return str(value) if value is None else str(form(value))


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train, compare and search small neural networks, tracked in MLflow."""
    from pipeline.training.signals import interruptible

    interruptible()
    if os.environ.get("MLFLOW_RUN_ID"):
        from pipeline.tracking.launcher import prepare_for_launcher

        prepare_for_launcher(click.get_current_context().meta[_ARGUMENTS])


@main.command()
@click.option("--dataset", default="mnist", show_default=True, help="mnist, digits, or any name with --source.")
@settings_options(many=False)
def prepare(dataset: str, settings: "Settings") -> None:
    """Bring a data set into the data folder, verified."""
    from pipeline import commands

    commands.prepare(dataset, settings, _parameters({"dataset": dataset}))


@main.command()
@hyperparameters()
@FORCE
@DRY_RUN
@REGISTER
@CHECKPOINTS
@settings_options(many=False)
def train(settings: "Settings", **values: Any) -> None:
    """Train one network."""
    from pipeline import commands

    config = TrainingConfig(**values)
    if settings.dry_run:
        commands.show_plan("train", [config], settings, alone=True)
    else:
        commands.train_one(config, settings, _parameters(values))


@main.command()
@click.option(
    "--hidden-sizes",
    type=Several(SIZES),
    default="128,256x64",
    show_default=True,
    help="Units of each hidden layer, joined by x; a comma separates networks.",
)
@click.option("--activations", type=Several(click.STRING), default=",".join(ACTIVATIONS), show_default=True)
@click.option("--losses", type=Several(click.STRING), default=",".join(LOSSES), show_default=True)
@click.option("--seeds", type=Several(WholeNumber()), default="0", show_default=True, help="Each network once a seed.")
@hyperparameters(without=("hidden_sizes", "activation", "loss", "seed"))
@FORCE
@DRY_RUN
@REGISTER
@CHECKPOINTS
@settings_options(many=True)
def grid(
    hidden_sizes: list[tuple[int, ...]],
    activations: list[str],
    losses: list[str],
    seeds: list[int],
    settings: "Settings",
    **values: Any,
) -> None:
    """Train every combination of hidden layers, activations, losses and seeds; by default the 18 published networks."""
    from pipeline import commands, experiments

    networks: dict[str, Any] = {
        "hidden_sizes": hidden_sizes,
        "activations": activations,
        "losses": losses,
        "seeds": seeds,
    }
    configs = experiments.grid(TrainingConfig(**values), **networks)
    if settings.dry_run:
        commands.show_plan("grid", configs, settings)
    else:
        commands.train_all("grid", configs, settings, _parameters({**networks, **values}), at_once=True)


@main.command()
@click.option(
    "--study",
    type=Optional(click.STRING),
    help=f"One of {', '.join([*STUDIES, *OPEN_STUDIES])}; default: {', '.join(STUDIES)}.",
)
@click.option("--hidden-sizes", type=Optional(SIZES), help="Instead of the study's.")
@click.option("--activation", type=Optional(click.STRING), help="Instead of the study's.")
@click.option("--loss", type=Optional(click.STRING), help="Instead of the study's.")
@click.option("--learning-rates", type=Several(click.FLOAT), default="", help="Instead of the study's.")
@click.option("--max-epochs", type=Several(WholeNumber()), default="", help="Instead of the study's.")
@click.option("--seeds", type=Several(WholeNumber()), default="0", show_default=True, help="Each network once a seed.")
@hyperparameters(without=("hidden_sizes", "activation", "loss", "learning_rate", "max_epoch", "seed"))
@FORCE
@DRY_RUN
@REGISTER
@CHECKPOINTS
@settings_options(many=True)
def sweep(settings: "Settings", **values: Any) -> None:
    """Train the published studies of the weak network, or one of your own."""
    from pipeline import commands, experiments

    varied = ("study", "hidden_sizes", "activation", "loss", "learning_rates", "max_epochs", "seeds")
    base = TrainingConfig(**{name: value for name, value in values.items() if name not in varied})
    configs = experiments.sweep(base, **{name: values[name] for name in varied})
    if settings.dry_run:
        commands.show_plan("sweep", configs, settings)
    else:
        commands.train_all("sweep", configs, settings, _parameters(values), at_once=True)


@main.command()
@click.option("--run", required=True, help="Id of a network's finished run.")
@settings_options(many=False)
def verify(run: str, settings: "Settings") -> None:
    """Train a finished network again and say whether it comes out the same; the store is only read."""
    from pipeline import commands

    commands.verify_run(run, settings)


@main.command()
@click.option(
    "--model", "model_uri", required=True, help="runs:/RUN/model, models:/NAME/VERSION or models:/NAME@champion."
)
@click.option("--images", type=FilePath(), required=True, help="Picture, folder of pictures, or idx file.")
@flag("--verbose", "Show the log of the pipeline and of the libraries.")
def predict(model_uri: str, images: Path, verbose: bool) -> None:
    """Classify images of digits with a trained network."""
    from pipeline import commands

    if verbose:
        be_verbose()
    commands.predict(model_uri, images, _parameters({"model": model_uri, "images": images}))


class _Search(click.Command):
    """The search command; for an option of version 0.1 that `--space` has replaced, its error names `--space`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name.strip("-").replace("_", "-") in {"learning-rates", "max-epochs", "epoch-step"}:
                raise click.UsageError(
                    f"No such option {error.option_name!r}; what is searched is --space, as in "
                    f"--space {DEFAULT_SPACE!r}.",
                    ctx,
                ) from error
            raise


@main.command(cls=_Search)
@TRIALS
@click.option("--study", type=Optional(click.STRING), help="Name of the study; default: that of the network.")
@click.option(
    "--space",
    default=DEFAULT_SPACE,
    show_default=True,
    help="What is searched: name=low..high, with log or step WIDTH after it, or name=a|b|c; separated by commas.",
)
@click.option(
    "--lag", type=WholeNumber(), default=4, show_default=True, help="Trial n learns from trials 0 to n - lag."
)
@click.option(
    "--sampler-seed", type=WholeNumber(), default=0, show_default=True, help="Seed of the configurations drawn."
)
@click.option(
    "--confirm",
    type=WholeNumber(0),
    default=3,
    show_default=True,
    help="Best configurations that are trained with further seeds.",
)
@click.option("--seeds", type=Several(WholeNumber()), default="0", show_default=True, help="Seeds of the final test.")
@click.option("--storage", type=Optional(click.STRING), help="Optuna storage URL; default: OPTUNA_STORAGE or a file.")
@hyperparameters(activation="sigmoid")
@DRY_RUN
@REGISTER
@CHECKPOINTS
@settings_options(many=True)
def search(space: str, settings: "Settings", **values: Any) -> None:
    """Search hyperparameters with Optuna; the same command goes on until the study has its trials."""
    from pipeline.search.search import Plan
    from pipeline.search.search import search as run
    from pipeline.search.space import Space

    searched = Space.parse(space)
    of_plan = {item.name: values[item.name] for item in fields(Plan)}
    of_network = {name: value for name, value in values.items() if name not in of_plan}
    if settings.dry_run:
        from pipeline.output import say
        from pipeline.search.dry_run import describe_search

        say(describe_search(TrainingConfig(**of_network), Plan(**of_plan), settings))
        return
    parameters = {"space": str(searched), **{name: value for name, value in values.items() if name != "storage"}}
    run(TrainingConfig(**of_network), searched, Plan(**of_plan), settings, _parameters(parameters))


@main.command()
@hyperparameters(without=("hidden_sizes", "activation", "loss", "seed"))
@OUTPUT
@click.option(
    "--data-dir", type=PATH, default="data", show_default=True,
    help="Folder of prepared data, for runs that kept no predictions.",
)  # fmt: skip
@flag("--verbose", "Show the log of the pipeline and of the libraries.")
def report(output: Path, data_dir: Path | None, verbose: bool, **values: Any) -> None:
    """Turn the finished runs into tables beside the published ones, curves and judged claims."""
    from pipeline import commands

    if verbose:
        be_verbose()
    commands.report(TrainingConfig(**values), output, _parameters({**values, "output": output}), data_dir=data_dir)


@main.command()
@hyperparameters(without=("hidden_sizes", "activation", "loss", "seed"))
@click.option(
    "--seeds", type=Several(WholeNumber()), default="0,1,2,3,4", show_default=True, help="Each network once a seed."
)
@TRIALS
@OUTPUT
@DRY_RUN
@CHECKPOINTS
@settings_options(many=True)
def reproduce(seeds: list[int], trials: int, output: Path, settings: "Settings", **values: Any) -> None:
    """Prepare, train the grid and the studies, search and report, reusing all that is finished."""
    from pipeline import commands

    parameters = _parameters({**values, "seeds": seeds, "trials": trials, "output": output})
    base = TrainingConfig(**values)
    commands.reproduce(base, settings, parameters, seeds=seeds, trials=trials, output=output)
