"""What a run was computed with: the project's commit, the kind of processor, and NumPy's version.

Processors of one kind with one version of NumPy compute the same bits. Another kind runs other BLAS kernels, which
round differently.
"""

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

PROCESSOR_TAG: Final = "processor"
NUMPY_TAG: Final = "numpy"
CORE_SECONDS_TAG: Final = "core_seconds"
BIT_EXACT_TAG: Final = "bit_exact"
"""Set to "false" on a run that was resumed on another kind of processor or with another NumPy."""


def tags() -> dict[str, str]:
    """Give the tags for a run that this process computes, under MLflow's own names where MLflow has one."""
    return {**arithmetic(), **_commit()}


@cache
def arithmetic() -> dict[str, str]:
    """Give what decides how sums are rounded, by tag: the kind of processor and NumPy's version."""
    import numpy as np

    simd = np.show_config("dicts")["SIMD Extensions"]
    return {PROCESSOR_TAG: " ".join([kernels(), *simd["baseline"], *simd["found"]]), NUMPY_TAG: np.__version__}


@cache
def kernels() -> str:
    """Give the name of the kernels that NumPy's BLAS runs on this processor, such as Haswell."""
    import numpy as np  # noqa: F401 - NumPy loads its BLAS
    from threadpoolctl import threadpool_info

    # The libraries are listed in the order in which they were loaded, so NumPy's BLAS comes before SciPy's.
    libraries = [each for each in threadpool_info() if each["user_api"] == "blas"]
    return next((str(each.get("architecture") or each["internal_api"]) for each in libraries), "")


def difference(recorded: Mapping[str, str]) -> str:
    """Say in a clause how this process computes differently from the one that wrote a checkpoint; empty if it does not.

    Args:
        recorded: the result of `arithmetic` in the process that wrote the checkpoint; empty for an old checkpoint.
    """
    ours = arithmetic()
    differing = [name for name, theirs in recorded.items() if ours.get(name) != theirs]
    if not differing:
        return ""
    parts = [f"{name} {recorded[name]!r}, here it is {ours.get(name)!r}" for name in differing]
    return f"the checkpoint was written with {'; '.join(parts)}: the result will not be exact to the bit"


@cache
def _commit() -> dict[str, str]:
    """Give the tags for the project's commit and for uncommitted changes; none outside a repository."""
    folder = Path(__file__).parent
    if not _git(folder, "ls-files", "--error-unmatch", Path(__file__).name):
        return {}
    commit = _git(folder, "rev-parse", "HEAD")
    changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(changed).lower()} if commit else {}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):  # a worker without git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
