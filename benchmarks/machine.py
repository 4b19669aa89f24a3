"""The machine and the libraries that a benchmark ran on; nothing that names the machine or its folders."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from benchmarks.kinds import kind
from benchmarks.processes import cores
from pipeline.display.tables import markdown_table

_LIBRARIES: Final = ("numpy", "mlflow", "dask", "torch", "jax", "scikit-learn")


def machine() -> str:
    """A table of both."""
    return markdown_table(list(_facts()), ["machine", ""])


def _facts() -> Iterator[tuple[str, str]]:
    yield "processor", processor()
    yield "kind", kind()
    yield (
        "cores",
        f"{len(cores())} for this benchmark, {psutil.cpu_count()} logical, {psutil.cpu_count(logical=False)} physical",
    )
    yield "memory", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    yield "system", _system()
    yield "Python", platform.python_version()
    yield "BLAS of NumPy", _blas()
    for library in _LIBRARIES:
        try:
            yield library, version(library)
        except PackageNotFoundError:
            yield library, "not installed"


def processor() -> str:
    """The name that the processor gives itself."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _system() -> str:
    kernel = f"{platform.system()} {platform.release()}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    except (OSError, KeyError):
        return kernel


def _blas() -> str:
    import numpy as np  # noqa: F401 - its BLAS is looked at
    from threadpoolctl import threadpool_info

    found = [each for each in threadpool_info() if each["user_api"] == "blas"]
    return ", ".join(f"{each['internal_api']} {each['version']}, {each.get('architecture', '')}" for each in found)
