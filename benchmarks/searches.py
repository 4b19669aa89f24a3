"""What a search costs beyond its trials: workers that wait for its lag, and good configurations that it pruned.

python -m benchmarks.searches waiting --study "mnist sigmoid-euclidean-1h"
python -m benchmarks.searches regret --study "mnist sigmoid-euclidean-1h"
"""

import heapq
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import click

from pipeline.display.tables import markdown_table
from pipeline.errors import PipelineError, UsageError
from pipeline.search.storage import Storage, storage_url
from pipeline.search.study import DEFINITION, Definition, Study
from pipeline.tracking.parents import command_run
from pipeline.tracking.store import Store
from pipeline.training.networks import Settings, prepared, run_networks
from pipeline.training.task import Outcome, Status

_WORKERS: Final = (1, 2, 4, 8, 16)
_LAGS: Final = (1, 2, 4, 8, 16)
_CHECKPOINTS: Final = Path("checkpoints")

_STUDY = click.option("--study", required=True, help="Name of a finished study.")
_STORAGE = click.option("--storage", help="Optuna storage URL; default: OPTUNA_STORAGE or a file.")


def makespan(seconds: Sequence[float], workers: int, lag: float) -> float:
    """How long a study takes.

    Args:
        seconds: of each trial.
        workers: that train at once.
        lag: trial n begins when trials 0 to n - lag are finished; infinity lets it begin whenever a worker is free.

    Example:
        >>> makespan([3, 1, 1, 1], workers=2, lag=float("inf"))
        3
        >>> makespan([3, 1, 1, 1], workers=2, lag=2)
        4
    """
    free = [0.0] * workers
    finished: list[float] = []
    for number, length in enumerate(seconds):
        seen = finished[: int(max(number - lag + 1, 0))]
        begin = max(heapq.heappop(free), max(seen, default=0.0))
        finished.append(begin + length)
        heapq.heappush(free, begin + length)
    return max(finished, default=0.0)


def waiting_table(seconds: Sequence[float]) -> str:
    """Hours that a study takes by workers and lag, and how much longer each is than without a lag."""
    rows = []
    for workers in _WORKERS:
        shortest = makespan(seconds, workers, float("inf"))
        lags = [makespan(seconds, workers, lag) for lag in _LAGS]
        rows.append(
            [workers, f"{shortest / 3600:.2f}", *(f"{each / 3600:.2f} ({each / shortest - 1:+.0%})" for each in lags)]
        )
    return markdown_table(rows, ["workers", "hours without a lag", *(f"lag {lag}" for lag in _LAGS)])


def regret_table(study: Study, outcomes: Sequence[Outcome]) -> str:
    """How many of a study's pruned trials would have been better than its best one, and than its median."""
    complete = [float(trial.value or 0.0) for trial in study.trials() if trial.state.name == "COMPLETE"]
    pruned = {config: trial for trial in study.trials()
              if trial.state.name == "PRUNED" and (config := study.config(trial)) is not None}  # fmt: skip
    ends = {outcome.config: outcome.metrics["validation_accuracy"] for outcome in outcomes
            if outcome.status == Status.FINISHED}  # fmt: skip
    rows = [
        [
            trial.number,
            max(trial.intermediate_values),
            config.max_epoch,
            f"{trial.value or 0.0:.2%}",
            f"{ends[config]:.2%}",
        ]
        for config, trial in pruned.items()
        if config in ends
    ]
    better, above = (sum(end > bound for end in ends.values()) for bound in (max(complete), median(complete)))
    return (
        f"{better} of {len(ends)} pruned configurations would have been better than the best one, {max(complete):.2%}; "
        f"{above} would have been better than the median of the complete trials, {median(complete):.2%}.\n\n"
        + markdown_table(rows, ["trial", "pruned after epoch", "epochs", "accuracy there", "accuracy at the end"])
    )


def opened(name: str, storage: str | None) -> Study:
    """A study as it is.

    Raises:
        UsageError: if no search made a study of that name.
    """
    import optuna

    found = Storage.open(storage_url(storage))
    names = found.call(lambda: optuna.get_all_study_names(found.backend))
    known = (
        optuna.load_study(study_name=name, storage=found.backend).user_attrs.get(DEFINITION) if name in names else None
    )
    if known is None:
        raise UsageError(f"study is {name!r}; the storage has {', '.join(map(repr, names)) or 'none'}.")
    return Study(found, name, Definition.from_attribute(known), trials=0, lock_dir=_CHECKPOINTS)


@click.group()
def main() -> None:
    """Say what a search costs beyond its trials."""


@main.command()
@_STUDY
@_STORAGE
def waiting(study: str, storage: str | None) -> None:
    """How long workers wait for the lag, computed from the times of a study's trials."""
    trials = opened(study, storage).trials()
    click.echo(waiting_table([float(trial.user_attrs.get("train_seconds", 0.0)) for trial in trials]))


@main.command()
@_STUDY
@_STORAGE
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True)
@click.option("--workers", type=int, help="Processes; default: one a core.")
def regret(study: str, storage: str | None, data_dir: Path, workers: int | None) -> None:
    """Train a study's pruned configurations to their end, and say how many would have been better."""
    found = opened(study, storage)
    settings = Settings(data_dir=data_dir, checkpoint_dir=_CHECKPOINTS, workers=workers)
    base = found.definition.base
    dataset = prepared(base.dataset, settings)
    pruned = [found.config(trial) for trial in found.trials() if trial.state.name == "PRUNED"]
    configs = list(dict.fromkeys(config for config in pruned if config is not None))
    store = Store.open()
    with command_run(store, f"regret {study}", {"study": study}) as parent:
        outcomes = run_networks(store, parent, configs, dataset, settings, title="regret")
        table = regret_table(found, outcomes)
        parent.log_text(table, "regret.md")
    click.echo(table)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except (PipelineError, click.ClickException) as error:
        raise SystemExit(f"Error: {error}") from None
