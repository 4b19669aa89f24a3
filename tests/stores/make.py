"""Make the archive of a small store, which later versions have to go on with: `python -m tests.stores.make VERSION`.

The store holds a finished grid of two networks, a training that was killed with its checkpoint, and a study in the
middle: two finished trials of four, one killed with its checkpoint. Everything is on the bundled digits.
"""

import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ARCHIVES = Path(__file__).parent
SMALL = ("--dataset", "digits", "--init-std", "he", "--learning-rate", "0.1", "--disp-freq", "400")
GRID = ("grid", *SMALL, "--max-epoch", "4", "--test-epoch", "2", "--activations", "relu,sigmoid", "--losses", "hinge")
KILLED = ("train", *SMALL, "--max-epoch", "3000", "--test-epoch", "100", "--seed", "7")
SEARCH = ("search", *SMALL, "--max-epoch", "400", "--test-epoch", "50", "--trials", "4", "--workers", "1")


def make(folder: Path) -> None:
    """Run the commands in `folder`, with the code that PYTHONPATH leads to."""
    start(folder, *GRID, *os.environ.get("GRID_SIZES", "--hidden-sizes 128").split()).wait()
    kill_when(start(folder, *KILLED), lambda: checkpointed(folder) > 0)
    seen = checkpointed(folder)
    search = start(folder, *SEARCH)
    kill_when(search, lambda: finished_trials(folder) >= 2 and checkpointed(folder) > seen)


def start(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """A command with everything it writes in `folder`."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments], cwd=folder, env=environment, start_new_session=True
    )


def kill_when(command: "subprocess.Popen[bytes]", reached: Callable[[], bool]) -> None:
    """Kill a command and its workers as soon as `reached` says so."""
    while not reached():
        assert command.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.killpg(command.pid, signal.SIGKILL)
    command.wait()


def checkpointed(folder: Path) -> int:
    """How many runs have a checkpoint."""
    return len({checkpoint.parent for checkpoint in (folder / "checkpoints").rglob("*.npz")})


def finished_trials(folder: Path) -> int:
    """How many trials of the study are complete or pruned."""
    import optuna

    if not (folder / "optuna.db").exists():
        return 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{folder / 'optuna.db'}"
    try:
        [name] = optuna.get_all_study_names(url)
        return sum(trial.state.is_finished() for trial in optuna.load_study(study_name=name, storage=url).trials)
    except Exception:  # noqa: BLE001 - its tables are being made
        return 0


def without_pictures(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what would be most of the archive, and what no later version reads."""
    return None if member.name.endswith(".png") else member


def main() -> None:
    """Write the archive of the version that the command line names."""
    [version] = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "store")
        folder.mkdir()
        make(folder)
        (folder / "PLACE").write_text(str(folder))
        with tarfile.open(ARCHIVES / f"{version}.tar.gz", "w:gz") as archive:
            for name in ("PLACE", "mlflow.db", "optuna.db", "mlruns", "checkpoints"):
                archive.add(folder / name, name, filter=without_pictures)


if __name__ == "__main__":
    main()
