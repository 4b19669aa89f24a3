"""The kind of processor is what NumPy uses, also where another one is emulated."""

import os
import subprocess
import sys

import pytest

from benchmarks.kinds import EMULATIONS, emulate, kind, vectors
from tests.conftest import REPOSITORY

EMULATED = """
from benchmarks.__main__ import main
from benchmarks.kinds import emulate, kind
emulate("avx2")
import os
print(kind())
print(os.environ["XLA_FLAGS"])
"""


@pytest.mark.parametrize(
    ("features", "name"),
    [(["X86_V2", "X86_V3", "X86_V4", "AVX512_ICL"], "AVX-512"), (["SSE42", "AVX2", "FMA3"], "AVX2"),
     (["SSE2"], "no wide vectors"), (["NEON", "ASIMD"], "NEON")],
)  # fmt: skip
def test_the_widest_vectors_give_the_name(features, name):
    assert vectors(features) == name


def test_kind_here_is_not_emulated():
    assert "kernels, " in kind()
    assert "emulated" not in kind()


def test_importing_the_command_does_not_import_numpy_so_that_it_can_be_capped():
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "XLA_FLAGS": "--xla_dump_to=x"}
    done = subprocess.run([sys.executable, "-c", EMULATED], env=environment, capture_output=True, text=True, check=True)
    name, flags = done.stdout.splitlines()
    assert name.endswith("emulated")
    assert "AVX-512" not in name
    assert flags == f"--xla_dump_to=x {EMULATIONS['avx2']['XLA_FLAGS']}"


def test_too_late_to_emulate():
    import numpy as np  # noqa: F401 - what is tested is that it is imported

    with pytest.raises(RuntimeError, match="NumPy is imported"):
        emulate("avx2")
