"""The errors that a user can cause or cure, each one line: the value, what is accepted and what to do."""


class PipelineError(Exception):
    """A run that failed for a reason its user can mend; the command line prints its message and exits with 1."""

    exit_code = 1


class UsageError(PipelineError):
    """A parameter whose value cannot be meant; the command line prints its message and exits with 2."""

    exit_code = 2


class Interrupted(PipelineError):  # noqa: N818 - not a fault: its user asked for it
    """The user stopped the work (Ctrl-C or SIGTERM); what is reached is kept."""

    exit_code = 130
