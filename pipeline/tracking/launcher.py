"""What `mlflow run` does to this process: it creates its run, names its store, and may run it in a temporary copy."""

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from pipeline.output import notice
from pipeline.redaction import redacted
from pipeline.tracking.connection import Connection
from pipeline.tracking.names import is_generated
from pipeline.tracking.store import FINGERPRINT_TAG, JOB_TAG

_SQLITE: Final = "sqlite:///"
_SHELLS: Final = ("sh", "bash", "dash")
_TITLES: Final = {"reproduce": "reproduction"}
_FOLDERS: Final = {"data_dir": "data", "checkpoint_dir": "checkpoints"}
_REASON_CHARACTERS: Final = 5000


def prepare_for_launcher(arguments: Sequence[str]) -> None:
    """Use the launcher's store where its address is relative, and say what a temporary copy of the project loses."""
    folder = _folder_of_launcher()
    if folder is None or folder == Path.cwd():
        return
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    path = uri.removeprefix(_SQLITE)
    if uri.startswith(_SQLITE) and path and not Path(path).is_absolute():
        os.environ["MLFLOW_TRACKING_URI"] = f"{_SQLITE}{folder / path}"
    lost = [name for name, default in _FOLDERS.items() if not Path(_value(arguments, name) or default).is_absolute()]
    if lost and _is_temporary(Path.cwd()):
        flags = " ".join(f"-P {name}={folder / _FOLDERS[name]}" for name in lost)
        notice(
            f"This project runs in a temporary copy, {Path.cwd()}: its data and checkpoints are not found again, so "
            f"that a stopped training starts over. To keep them, add: {flags}"
        )


def record_failure(command: str, arguments: Sequence[str], reason: str) -> None:
    """Set name and reason of the launcher's run, if the command failed before it could set them.

    Args:
        command: its entry point.
        arguments: of the command, as they were typed.
        reason: why it failed.
    """
    dataset = _value(arguments, "dataset") or ("" if command == "predict" else "mnist")
    name = f"{_TITLES.get(command, command)} {dataset}".strip()
    with suppress(Exception):  # the reason is on its way to the user; the store may be what failed
        import mlflow

        run_id = os.environ["MLFLOW_RUN_ID"]
        client = Connection(mlflow.get_tracking_uri(), "").client
        run = client.get_run(run_id)
        if run.info.status != "RUNNING" or {JOB_TAG, FINGERPRINT_TAG} & run.data.tags.keys():
            return
        client.set_tag(run_id, "reason", redacted(reason)[:_REASON_CHARACTERS])
        if is_generated(str(run.info.run_name)):
            client.update_run(run_id, name=name)


def _folder_of_launcher() -> Path | None:
    """The working folder of the process that started this one, shells between them left out."""
    import psutil

    with suppress(psutil.Error, OSError):
        for process in psutil.Process().parents():
            if process.name() not in _SHELLS:
                return Path(process.cwd())
    return None


def _is_temporary(folder: Path) -> bool:
    """Whether a folder is where MLflow puts the copy of a project that it fetched."""
    root = Path(tempfile.gettempdir()).resolve()
    if not folder.is_relative_to(root) or folder == root:
        return False
    return re.fullmatch(r"tmp\w{8}", folder.relative_to(root).parts[0]) is not None


def _value(arguments: Sequence[str], name: str) -> str:
    """The value of an option among the arguments of a command, as MLproject writes them: `--name value`."""
    option = f"--{name.replace('_', '-')}"
    values = [value for given, value in pairwise(arguments) if given == option]
    return values[-1] if values else ""
