"""The kind of processor that a benchmark ran on: which matrix kernels and which vector instructions were in use.

Results hold for one kind. Another kind can be emulated by capping every library that takes part.
"""

import os
import sys
from collections.abc import Collection, Mapping
from typing import Final

EMULATIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "avx2": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
        # XLA's own kernels for products do not know of the cap; without them it calls oneDNN, which does.
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2 --xla_cpu_experimental_ynn_fusion_type=",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
}
"""Environment variables that cap all libraries, by the name of what they emulate."""

_EMULATED: Final = "BENCHMARKS_EMULATE"
_NAMES: Final = {
    "AVX-512": {"AVX512F", "AVX512_SKX", "X86_V4"},
    "AVX2": {"AVX2", "X86_V3"},
    "SVE": {"SVE"},
    "NEON": {"NEON", "ASIMD"},
}
"""Vector instructions, the widest first, and the names that releases of NumPy give to them."""


def emulate(name: str) -> None:
    """Cap all libraries in this process and in those that it starts.

    Raises:
        RuntimeError: NumPy is imported already, and would not see the variables.
    """
    if "numpy" in sys.modules:
        raise RuntimeError("NumPy is imported; it reads the variables when it is imported first.")
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ |= {**EMULATIONS[name], _EMULATED: name}
    os.environ["XLA_FLAGS"] = f"{flags} {EMULATIONS[name]['XLA_FLAGS']}".strip()


def kind() -> str:
    """The kind of this machine's processor, as NumPy and its BLAS use it: "Haswell kernels, AVX2, emulated"."""
    import numpy as np

    from pipeline.training.provenance import kernels

    simd = np.show_config("dicts")["SIMD Extensions"]
    words = [f"{kernels()} kernels", vectors([*simd["baseline"], *simd["found"]])]
    return ", ".join([*words, *(["emulated"] if os.environ.get(_EMULATED) else [])])


def vectors(features: Collection[str]) -> str:
    """The widest vector instructions among the features that NumPy found.

    Example:
        >>> vectors(["X86_V2", "X86_V3"])
        'AVX2'
    """
    return next((name for name, names in _NAMES.items() if names & set(features)), "no wide vectors")
