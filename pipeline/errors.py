"""The errors that a user can cause or correct; each message is one line: the value, what is accepted, what to do."""

from pipeline.redaction import redacted


class PipelineError(Exception):
    """A failure whose cause the user can remove; the command line prints the message and exits with 1."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Keep the message without secrets, because it may quote a library that does not hide them."""
        super().__init__(redacted(message))


class UsageError(PipelineError):
    """A parameter with an unusable value; the command line prints the message and exits with 2."""

    exit_code = 2


class Lost(PipelineError):  # noqa: N818 - a state, not a fault
    """Another process has taken over the work, so this process writes nothing more to it."""


class Interrupted(PipelineError):  # noqa: N818 - not a fault: its user asked for it
    """The user stopped the work (Ctrl-C or SIGTERM); everything finished so far is kept."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """Give the first line of an error's text, or the name of its type if the text is empty.

    A hint that SQLAlchemy puts before the error of the database is left out.
    """
    lines = [line for line in str(error).strip().splitlines() if not line.startswith(_HINT)]
    return lines[0] if lines else type(error).__name__


_HINT = "(raised as a result of Query-invoked autoflush"
