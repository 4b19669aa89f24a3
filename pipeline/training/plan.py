"""The dry run of a command: which networks it would train, reuse or resume, why, and how long this would take.

Nothing is trained, and no run is created.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset
from pipeline.display.tables import text_table
from pipeline.names import network_names
from pipeline.tracking.acquisition import unfinished_runs
from pipeline.tracking.lease import Watch, holder_in
from pipeline.tracking.store import Store, TrackedRun
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.estimate import Estimate
from pipeline.training.networks import Settings

_MINUTE: Final = 60
_HOUR: Final = 3600


class Step(StrEnum):
    """What the command would do with a network."""

    TRAIN = "train"
    REUSE = "reuse"
    GO_ON = "go on"
    BUSY = "at work"


@dataclass(frozen=True)
class Planned:
    """What the command would do with one network, and why.

    Attributes:
        config: the network's configuration.
        step: what the command would do.
        why: the reason in a few words.
        epochs: the number of epochs left to train.
    """

    config: TrainingConfig
    step: Step
    why: str
    epochs: int = 0


def plan_networks(
    store: Store, configs: Sequence[TrainingConfig], dataset: Dataset, settings: Settings
) -> list[Planned]:
    """Look up in the store what the command would do with each network."""
    return [_planned(store, config, config.fingerprint(dataset.digest), settings) for config in configs]


def _planned(store: Store, config: TrainingConfig, fingerprint: str, settings: Settings) -> Planned:
    finished = store.find_finished(fingerprint)
    if finished and not settings.force:
        return Planned(config, Step.REUSE, f"finished in run {finished.run_id}")
    for run in unfinished_runs(store, fingerprint):
        return _unfinished(config, run, settings)
    why = "force is set" if finished else "no run of it is here"
    return Planned(config, Step.TRAIN, why, config.max_epoch)


def _unfinished(config: TrainingConfig, run: TrackedRun, settings: Settings) -> Planned:
    if run.status == "RUNNING" and not Watch().is_free(run.tags):
        return Planned(config, Step.BUSY, holder_in(run.tags))
    reason = run.tags.get("reason", "its process died")
    checkpoint = Checkpoints(settings.checkpoint_dir / run.run_id).latest()
    epoch = checkpoint.notes["position"]["epoch"] if checkpoint else 0
    if not epoch:
        return Planned(config, Step.TRAIN, f"no checkpoint; {reason}", config.max_epoch)
    return Planned(config, Step.GO_ON, f"from epoch {epoch} of {config.max_epoch}; {reason}", config.max_epoch - epoch)


def seconds(store: Store, planned: Sequence[Planned]) -> float | None:
    """Estimate the seconds of all trainings, one after the other, from earlier runs; None without earlier runs."""
    ahead = [each for each in planned if each.epochs]
    if not ahead:
        return 0.0
    estimate = Estimate.from_store(store)
    if not estimate.is_measured:
        return None
    return sum(estimate.of(each.config) * each.epochs / each.config.max_epoch for each in ahead)


def describe_plan(title: str, planned: Sequence[Planned], total: float | None, workers: int) -> str:
    """Format the plan as a table and a sentence about its duration."""
    names = network_names(each.config for each in planned)
    table = text_table(
        [[names[each.config], each.step.value, each.why] for each in planned], ["network", "step", "why"]
    )
    counts = ", ".join(
        f"{count} to {step.value}" if step is not Step.BUSY else f"{count} at work elsewhere"
        for step in Step
        if (count := sum(each.step is step for each in planned))
    )
    return f"{title}: nothing is trained, this is a dry run.\n\n{table}\n\n{counts}. {_time(total, workers)}"


def _time(total: float | None, workers: int) -> str:
    if total is None:
        return "No earlier run tells how long it takes."
    if not total:
        return "No time for training."
    on = "1 worker" if workers == 1 else f"{workers} workers"
    return f"About {duration(total / workers)} of training on {on}, by the seconds of earlier runs."


def duration(time: float) -> str:
    """Format a duration in seconds, minutes or hours: "12 s", "3 min", "1.5 h"."""
    if time < _MINUTE:
        return f"{time:.0f} s" if time >= 1 else "1 s"
    return f"{time / _MINUTE:.0f} min" if time < _HOUR else f"{time / _HOUR:.1f} h"
