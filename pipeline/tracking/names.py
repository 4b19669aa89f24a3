"""Names of runs: MLflow does not record whether it generated a name or a person chose it."""

import re
from typing import Final

_DRAWN: Final = re.compile(r"(?P<adjective>[a-z]+)-(?P<noun>[a-z]+)-\d{1,4}")


def is_generated(name: str) -> bool:
    """Whether MLflow generated a run's name: an adjective, a noun and a number, with words from its own lists.

    Example:
        >>> is_generated("whimsical-newt-17"), is_generated("relu-baseline-1")
        (True, False)
    """
    from mlflow.utils import name_utils

    match = _DRAWN.fullmatch(name)
    adjectives = getattr(name_utils, "_GENERATOR_PREDICATES", ())  # no public name; without it, every word passes
    nouns = getattr(name_utils, "_GENERATOR_NOUNS", ())
    if match is None:
        return False
    return all(not words or match[kind] in words for kind, words in (("adjective", adjectives), ("noun", nouns)))
