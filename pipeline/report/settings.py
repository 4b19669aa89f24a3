"""The hyperparameters of the report: the requested ones, or those of the finished runs if these all have the same."""

from collections import Counter
from dataclasses import fields, replace

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.experiments import STUDIES
from pipeline.report.measured import Runs
from pipeline.report.networks import all_networks, of_base

_OF_EACH_NETWORK = ("hidden_sizes", "activation", "loss", "seed", "disp_freq", "test_epoch")
"""What differs within one report, or changes no result."""


def chosen(runs: Runs) -> tuple[TrainingConfig, str]:
    """Choose the hyperparameters of the report.

    Args:
        runs: the runs with the requested hyperparameters.

    Returns:
        The hyperparameters, and a sentence about them if they are not the requested ones.

    Raises:
        UsageError: there are only runs with several other settings; the message names the options to give.
    """
    base = runs.base
    studied = [of_base(base, each) for configs in STUDIES.values() for each in configs]
    if any(runs.of(network) for network in [*all_networks(base), *studied]):
        return base, ""
    found = Counter(_settings(config) for config in set(runs.configurations()))
    if not found:
        return base, ""
    if len(found) == 1:
        [(only, _)] = found.items()
        used = replace(base, **{name: getattr(only, name) for name in _names()})
        return used, f"All finished networks on {base.dataset} have other settings, which are taken: {_flags(only)}"
    options = "; ".join(
        f"{_flags(settings)} ({count} network{'s'[: count - 1]})"
        for settings, count in sorted(found.items(), key=lambda item: (-item[1], _flags(item[0])))
    )
    raise UsageError(f"No finished network on {base.dataset} has these settings. Give one of: {options}")


def _names() -> list[str]:
    """Return the hyperparameters that are options of the report."""
    others = {*_OF_EACH_NETWORK, "dataset", "validation"}
    return [item.name for item in fields(TrainingConfig) if item.name not in others]


def _settings(config: TrainingConfig) -> TrainingConfig:
    return replace(config, **{name: getattr(TrainingConfig, name) for name in _OF_EACH_NETWORK})


def _flags(settings: TrainingConfig) -> str:
    """Format the options of `mlflow run` for all hyperparameters that differ from the published values."""
    forms = {item.name: item.metadata.get("format", str) for item in fields(TrainingConfig)}
    values = {name: getattr(settings, name) for name in _names()}
    changed = {name: value for name, value in values.items() if value != getattr(TrainingConfig, name)}
    return " ".join(f"-P {name}={forms[name](value)}" for name, value in changed.items()) or "none, the defaults"
