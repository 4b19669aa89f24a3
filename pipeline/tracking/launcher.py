"""Adapting to `mlflow run`, which creates the command's run, names the store, and may copy the project temporarily."""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from pipeline.output import notice
from pipeline.redaction import redacted
from pipeline.tracking.connection import Connection
from pipeline.tracking.names import is_generated
from pipeline.tracking.store import FINGERPRINT_TAG, JOB_TAG, NOTE_TAG

_SQLITE: Final = "sqlite:///"
_SHELLS: Final = ("sh", "bash", "dash")
_TITLES: Final = {"reproduce": "reproduction"}
_LOST: Final = {
    "data_dir": "the data are prepared again",
    "checkpoint_dir": "a stopped training starts over",
    "output": "the report is left among the artifacts of its run alone",
}
"""What comes of a relative folder in a temporary copy, by the option that names the folder."""
_REASON_CHARACTERS: Final = 5000


def prepare_for_launcher(arguments: Sequence[str]) -> None:
    """Resolve a relative path of a SQLite store against the working folder of `mlflow run`.

    If MLflow runs the project in a temporary copy, a notice says how to keep data and checkpoints.

    Args:
        arguments: the command's arguments, as the user typed them.
    """
    folder = _folder_of_launcher()
    if folder is None or folder == Path.cwd():
        return
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    path = uri.removeprefix(_SQLITE)
    if uri.startswith(_SQLITE) and path and not Path(path).is_absolute():
        os.environ["MLFLOW_TRACKING_URI"] = f"{_SQLITE}{folder / path}"
    given = {name: value for name in _LOST if (value := _value(arguments, name))}
    lost = {name: value for name, value in given.items() if not Path(value).expanduser().is_absolute()}
    if lost and _is_temporary(Path.cwd()):
        flags = " ".join(f"-P {name}={folder / value}" for name, value in lost.items())
        notice(
            f"This project runs in a temporary copy, {Path.cwd()}, which no later command finds: "
            f"{', '.join(_LOST[name] for name in lost)}. Add: {flags}"
        )


def record_failure(command: str, arguments: Sequence[str], reason: str) -> None:
    """Set name and reason of the run that `mlflow run` created, if the command failed before it could set them.

    Args:
        command: the command's entry point.
        arguments: the command's arguments, as the user typed them.
        reason: why the command failed.
    """
    _describe(_name(command, arguments), {"reason": redacted(reason)[:_REASON_CHARACTERS]})


def record_dry_run(command: str, arguments: Sequence[str]) -> None:
    """Say in the run that `mlflow run` created that nothing was trained, because the table of runs shows it as well.

    Args:
        command: the command's entry point.
        arguments: the command's arguments, as the user typed them.
    """
    text = "A dry run: nothing was trained. The command printed what it would do."
    _describe(f"dry run {_name(command, arguments)}", {NOTE_TAG: text})


def _name(command: str, arguments: Sequence[str]) -> str:
    dataset = _value(arguments, "dataset") or ("" if command == "predict" else "mnist")
    return f"{_TITLES.get(command, command)} {dataset}".strip()


def _describe(name: str, tags: Mapping[str, str]) -> None:
    """Set name and tags of the launcher's run, unless the command has already made the run its own."""
    with suppress(Exception):  # what the run would say was said to the user; the store may be what failed
        import mlflow

        run_id = os.environ["MLFLOW_RUN_ID"]
        client = Connection(mlflow.get_tracking_uri(), "").client
        run = client.get_run(run_id)
        if run.info.status != "RUNNING" or {JOB_TAG, FINGERPRINT_TAG} & run.data.tags.keys():
            return
        for key, value in tags.items():
            client.set_tag(run_id, key, value)
        if is_generated(str(run.info.run_name)):
            client.update_run(run_id, name=name)


def _folder_of_launcher() -> Path | None:
    """Return the working folder of the process that started this one; shells between them do not count."""
    import psutil

    with suppress(psutil.Error, OSError):
        for process in psutil.Process().parents():
            if process.name() not in _SHELLS:
                return Path(process.cwd())
    return None


def _is_temporary(folder: Path) -> bool:
    """Whether a folder is one that MLflow creates for its copy of a project."""
    root = Path(tempfile.gettempdir()).resolve()
    if not folder.is_relative_to(root) or folder == root:
        return False
    return re.fullmatch(r"tmp\w{8}", folder.relative_to(root).parts[0]) is not None


def _value(arguments: Sequence[str], name: str) -> str:
    """Find the value of an option that is written `--name value`, as MLproject writes it; empty if there is none."""
    option = f"--{name.replace('_', '-')}"
    values = [value for given, value in pairwise(arguments) if given == option]
    return values[-1] if values else ""
