"""The best network under a name of its own, for others to use; only a better one on the same data takes its place.

The place is the alias `champion`, so that `models:/NAME@champion` is always the best network so far.
"""

import re
from collections.abc import Sequence
from typing import Final

from pipeline.errors import UsageError
from pipeline.tracking.store import Store
from pipeline.training.trainer import Outcome, held_out

CHAMPION: Final = "champion"


def check_name(name: str | None) -> None:
    """Refuse a name that MLflow's registry cannot have, before any work is done.

    Raises:
        UsageError: naming what is accepted.
    """
    if name is not None and not re.fullmatch(r"\w[\w. -]*", name):
        raise UsageError(f"register is {name!r}; a name has to be of letters, digits, spaces, ., - and _.")


def register_best(store: Store, name: str, outcomes: Sequence[Outcome]) -> str:
    """Register the finished network with the highest accuracy on the images held out of its training.

    Returns:
        What happened, in a sentence of markdown.

    Example:
        >>> register_best(store, "digits", outcomes)
        '`gelu-hinge-2h` is version 1 of the registered model `digits` and its champion: ...'
    """
    best = max(outcomes, key=accuracy)
    return register(store, name, best, f"{held_out(best.config)}_accuracy", accuracy(best))


def register(store: Store, name: str, outcome: Outcome, measure: str, value: float) -> str:
    """Register a finished network; make it the champion if there is none, or a worse one on the same data.

    Args:
        store: where the network's run is.
        name: of the registered model.
        outcome: of the network.
        measure: by what networks are compared: "validation_accuracy" or "test_accuracy".
        value: the network's.

    Returns:
        What happened, in a sentence of markdown.

    Raises:
        PipelineError: if the run has no model.
    """
    run = store.get(str(outcome.run_id))
    tags = {"dataset_digest": run.parameters["dataset_digest"], "measure": measure, "value": repr(value)}
    before = store.model_version(name, CHAMPION)
    version = store.register(name, run.run_id, tags)
    told = f"`{run.name}` is version {version} of the registered model `{name}`"
    figure = f"{measure.replace('_', ' ')} {value:.2%}{_caveat(measure)}"
    if before is None:
        store.set_alias(name, CHAMPION, version)
        return f"{told} and its champion: {figure}."
    if before.version == version:
        return f"{told} and still its champion: {figure}."
    kept = f"{told}, with {figure}; the champion is still version {before.version}"
    for tag, meaning in (("dataset_digest", "other data"), ("measure", "another measure")):
        if before.tags.get(tag) != tags[tag]:
            return f"{kept}, chosen on {meaning} ({before.tags.get(tag)}): register under another name to compare."
    former = float(before.tags["value"])
    if value <= former:
        return f"{kept}, with {former:.2%}."
    store.set_alias(name, CHAMPION, version)
    return f"{told} and its new champion: {figure}, before it {former:.2%} of version {before.version}."


def accuracy(outcome: Outcome) -> float:
    """The accuracy of a finished network on the images held out of its training."""
    return outcome.metrics[f"{held_out(outcome.config)}_accuracy"]


def _caveat(measure: str) -> str:
    """The published protocol has no validation images: its choice by the test set has to be called what it is."""
    return "" if measure.startswith("validation") else " (chosen by the test images, so a little flattered by them)"
