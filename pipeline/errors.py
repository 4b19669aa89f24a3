"""The errors that a user can cause or cure, each one line: the value, what is accepted and what to do."""

from pipeline.redaction import redacted


class PipelineError(Exception):
    """A run that failed for a reason its user can mend; the command line prints its message and exits with 1."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Keep the message without its secrets, because it may quote a library that knows none of them as such."""
        super().__init__(redacted(message))


class UsageError(PipelineError):
    """A parameter whose value cannot be meant; the command line prints its message and exits with 2."""

    exit_code = 2


class Lost(PipelineError):  # noqa: N818 - a state, not a fault
    """What this process worked on is another's now, so it writes nothing more there."""


class Interrupted(PipelineError):  # noqa: N818 - not a fault: its user asked for it
    """The user stopped the work (Ctrl-C or SIGTERM); what is reached is kept."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
