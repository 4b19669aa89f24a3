"""The names of runs: a network's name says how it differs from its siblings, their parent's name what they share.

A run is named once, when it is created. Its parameters hold the full values.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from model.initialization import RULES
from pipeline.config import TrainingConfig

_NETWORK: Final = ("dataset", "hidden_sizes", "activation", "loss")
"""The fields that are already in the network's own name and in the parent's data set."""
_UNSAID: Final = ("disp_freq", "test_epoch")
"""The fields that decide when metrics are logged, and that change no result."""
_WORDS: Final[Mapping[str, Callable[[str], str]]] = {
    "learning_rate": lambda value: f"lr {value}",
    "weight_decay": lambda value: f"weight decay {value}",
    "batch_size": lambda value: f"batch {value}",
    "max_epoch": lambda value: "1 epoch" if value == "1" else f"{value} epochs",
    "init_std": lambda value: value if value in RULES else f"init {value}",
    "hinge_margin": lambda value: f"margin {value}",
    "validation": lambda value: "validation" if value == "True" else "no validation",
}
"""Shorter texts for some settings, instead of name and value."""
_DIGITS: Final = 3
_EVERY_DIGIT: Final = 17


def network_names(configs: Iterable[TrainingConfig]) -> dict[TrainingConfig, str]:
    """Name the networks of one parent: the network, then the settings in which they differ.

    Numbers have three digits, or more where two networks would otherwise have the same name.

    Example:
        >>> list(network_names([TrainingConfig(seed=0), TrainingConfig(seed=1)]).values())
        ['relu-euclidean-1h seed 0', 'relu-euclidean-1h seed 1']
    """
    siblings = list(dict.fromkeys(configs))
    varied = varied_settings(siblings)
    names = {config: _name(config, varied, _DIGITS) for config in siblings}
    if len(set(names.values())) < len(siblings):
        names = {config: _name(config, varied, _EVERY_DIGIT) for config in siblings}
    return names


def varied_settings(configs: Iterable[TrainingConfig]) -> list[str]:
    """Find the fields in which configurations differ, apart from those in the network's own name."""
    every = list(configs)
    return [name for name in _settings() if len({getattr(config, name) for config in every}) > 1]


def shared_settings(configs: Iterable[TrainingConfig]) -> str:
    """Name the settings that all networks share and that differ from the published ones: "lr 0.1, he, 50 epochs"."""
    first, *others = configs
    shared = [
        setting_text(name, getattr(first, name))
        for name in _settings()
        if name not in _UNSAID
        and getattr(first, name) != getattr(TrainingConfig, name)
        and all(getattr(other, name) == getattr(first, name) for other in others)
    ]
    return ", ".join(shared)


def parent_name(title: str, configs: Iterable[TrainingConfig]) -> str:
    """Name the parent run of networks by the settings that they share.

    Example:
        >>> parent_name("grid", [TrainingConfig(dataset="digits", learning_rate=0.1, max_epoch=50)])
        'grid digits, lr 0.1, 50 epochs'
    """
    every = list(configs)
    return ", ".join(filter(None, [f"{title} {every[0].dataset}", shared_settings(every)]))


def trial_name(number: int) -> str:
    """Name the run of a trial: "trial 03"."""
    return f"trial {number:02}"


def setting_text(name: str, value: Any, digits: int = _DIGITS) -> str:
    """Format a setting in a few letters: "lr 0.0123"."""
    text = shortened(value, digits)
    return _WORDS[name](text) if name in _WORDS else f"{name} {text}"


def shortened(value: Any, digits: int = _DIGITS) -> str:
    """Format a value; a float gets a few digits, and values of several layers are joined by "/"."""
    if isinstance(value, tuple):
        return "/".join(shortened(each, digits) for each in value)
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _name(config: TrainingConfig, varied: Iterable[str], digits: int) -> str:
    return " ".join([config.network, *(setting_text(name, getattr(config, name), digits) for name in varied)])


def _settings() -> list[str]:
    """List the fields that are not in the network's own name; those that people vary most come first."""
    names = [item.name for item in fields(TrainingConfig) if item.name not in _NETWORK]
    first = ["learning_rate", "init_std", "max_epoch"]
    return [*first, *(name for name in names if name not in first)]
