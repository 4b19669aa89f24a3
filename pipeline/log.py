"""The project's own log: silent by default, on standard error with `--verbose`, in worker processes too."""

import logging
import os
from typing import Final

from pipeline.redaction import redact_log_and_tracebacks

VERBOSE: Final = "PIPELINE_VERBOSE"
"""The environment variable that `--verbose` sets, so that worker processes see it."""
_LOGGER: Final = logging.getLogger("pipeline")


def is_verbose() -> bool:
    """Whether the user asked for the log of the pipeline and of the libraries."""
    return VERBOSE in os.environ


def show_log() -> None:
    """Filter secrets from the log, and write it to standard error if asked for; called once in every process."""
    redact_log_and_tracebacks()
    if not is_verbose() or _LOGGER.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(name)s: %(message)s"))
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.DEBUG)
