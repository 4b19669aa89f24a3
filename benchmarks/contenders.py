"""Who takes part, and what is called in the process of each."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.job import Contender, Kind


class Entry(NamedTuple):
    """A contender before its library is imported.

    Attributes:
        label: in the tables.
        library: the module without which it is left out.
        place: module and class.
        nine: whether it has all nine networks.
        wide: whether more than one thread may help it.
        together: whether it trains several networks in one go.
    """

    label: str
    library: str
    place: str
    nine: bool = True
    wide: bool = False
    together: bool = False


OURS: Final = "numpy"
CONTENDERS: Final[dict[str, Entry]] = {
    OURS: Entry("This project", "numpy", "with_numpy:ThisProject"),
    "torch": Entry("PyTorch, eager, data in memory", "torch", "with_torch:Eager", wide=True),
    "torch-loader": Entry("PyTorch, eager, DataLoader", "torch", "with_torch:Loader", nine=False),
    "torch-compile": Entry("PyTorch, torch.compile", "torch", "with_torch:Compiled", wide=True),
    "jax": Entry("JAX, jitted scan", "jax", "with_jax:Scan", wide=True),
    "jax-vectorised": Entry("JAX, nine networks vectorised", "jax", "with_jax:Vectorised", wide=True, together=True),
    "sklearn": Entry("scikit-learn, MLPClassifier", "sklearn", "with_sklearn:Sklearn", nine=False),
}
"""All contenders by the name that chooses them."""


def present() -> list[str]:
    """The contenders whose library is installed."""
    return [name for name, entry in CONTENDERS.items() if find_spec(entry.library)]


class Measured(NamedTuple):
    """A training of some networks.

    Attributes:
        seconds: for all of them.
        accuracies: on the test set, one a network.
    """

    seconds: float
    accuracies: list[float]


_contender: "Contender"


def begin(name: str, dataset: str, data_dir: Path, threads: int, kinds: "Sequence[Kind]") -> None:
    """Import a library, load the data and compile; none of it is part of what is measured later."""
    global _contender  # noqa: PLW0603 - a process has one contender
    from threadpoolctl import threadpool_limits

    from benchmarks.job import Data

    module, _, kind = CONTENDERS[name].place.partition(":")
    _contender = getattr(import_module(f"benchmarks.{module}"), kind)(Data.open(dataset, data_dir), threads)
    threadpool_limits(threads)
    _contender.warm_up(kinds)


def warm_up(kinds: "Sequence[Kind]") -> None:
    """Compile what these networks need as well."""
    _contender.warm_up(kinds)


def measure(kinds: "Sequence[Kind]", epochs: int) -> Measured:
    """Train networks and take the time."""
    started = perf_counter()
    trained = _contender.train(kinds, epochs)
    seconds = perf_counter() - started
    return Measured(seconds, [_contender.data.accuracy(*each) for each in zip(kinds, trained, strict=True)])


class DenseLimit:
    """The rate of a large float32 product, the most that a network of dense layers can reach on a core."""

    SIZE = 1536

    def __init__(self) -> None:
        """Make the factors."""
        import numpy as np

        self._factor = np.random.default_rng(0).random((self.SIZE, self.SIZE), dtype=np.float32)
        self._product = np.empty_like(self._factor)

    def flops(self, repeats: int = 5) -> float:
        """Floating-point operations a second, the median of some products; on one thread if BLAS is limited to it."""
        return 2 * self.SIZE**3 / median(self._seconds() for _ in range(repeats))

    def _seconds(self) -> float:
        import numpy as np

        started = perf_counter()
        np.matmul(self._factor, self._factor, out=self._product)
        return perf_counter() - started


def dense_limit() -> float:
    """The dense limit in this process."""
    return DenseLimit().flops()
