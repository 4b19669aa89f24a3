"""The configuration of one training: the settings that decide its result, and their fingerprint."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final

import model
from model.activations import ACTIVATIONS
from model.initialization import RULES
from model.losses import LOSSES
from pipeline.errors import UsageError

PUBLISHED_SIZES: Final[Mapping[int, tuple[int, ...]]] = {1: (128,), 2: (256, 64)}
"""The published architectures: units of each hidden layer, by the number of hidden layers."""


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read the units of each hidden layer.

    Raises:
        UsageError: `text` is not made of whole numbers joined by x.

    Example:
        >>> parse_sizes("256x64")
        (256, 64)
    """
    try:
        return tuple(int(units) for units in text.split("x"))
    except ValueError:
        raise _refusal("hidden_sizes", text, _SIZES) from None


def format_sizes(sizes: Iterable[int]) -> str:
    """Write the units of each hidden layer as `parse_sizes` reads them."""
    return "x".join(map(str, sizes))


def parse_init_std(text: str) -> float | str | tuple[float, ...]:
    """Read `init_std`: the name of a rule, a number, or numbers for the layers.

    Raises:
        UsageError: `text` is none of these.

    Example:
        >>> parse_init_std("0.05/0.15")
        (0.05, 0.15)
    """
    if text in RULES:
        return text
    try:
        first, *others = (float(number) for number in text.split("/"))
    except ValueError:
        raise _refusal("init_std", text, _INIT_STD) from None
    return (first, *others) if others else first


def format_init_std(value: float | str | Sequence[float]) -> str:
    """Write `init_std` as `parse_init_std` reads it."""
    return str(value) if isinstance(value, str | float | int) else "/".join(map(str, value))


def _parameter(default: Any, text: str, **conversion: Callable[[Any], Any]) -> Any:
    """Declare a hyperparameter; `parse` and `format` convert from and to text if its type cannot."""
    return field(default=default, metadata={"help": text, **conversion})


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One network and how it is trained; the defaults are the published values.

    Two trainings with equal configurations and equal data give the same weights, bit for bit, on one kind of processor
    with one version of NumPy.

    Raises:
        UsageError: no training can use one of the values.

    Example:
        >>> TrainingConfig(activation="gelu", loss="hinge", hidden_sizes=(256, 64)).name
        'gelu-hinge-2h'
    """

    dataset: str = _parameter("mnist", "Data set to train on.")
    hidden_sizes: tuple[int, ...] = _parameter(
        (128,),
        "Units of each hidden layer, joined by x: 128 and 256x64 are the published networks.",
        parse=parse_sizes,
        format=format_sizes,
    )
    activation: str = _parameter("relu", "Activation of the last hidden layer.")
    loss: str = _parameter("euclidean", "Loss that is minimised.")
    learning_rate: float = _parameter(0.003, "Step size of stochastic gradient descent.")
    weight_decay: float = _parameter(0.0, "L2 penalty added to every gradient.")
    momentum: float = _parameter(0.0, "Share of the last step that the next one keeps; below 1.")
    batch_size: int = _parameter(100, "Images in a mini-batch.")
    max_epoch: int = _parameter(200, "Passes over the training images.")
    disp_freq: int = _parameter(50, "Mini-batches between two points of the training curve.")
    test_epoch: int = _parameter(5, "Epochs between two evaluations.")
    init_std: float | str | tuple[float, ...] = _parameter(
        0.01,
        f"Standard deviation of the initial weights: a number, a rule ({', '.join(RULES)}), or numbers for the layers "
        "joined by /, the last for all that follow.",
        parse=parse_init_std,
        format=format_init_std,
    )
    hinge_margin: float = _parameter(5.0, "Margin of the hinge loss.")
    seed: int = _parameter(0, "Seed of the initial weights and of the order of images.")
    validation: bool = _parameter(False, "Hold out the last sixth of the training images and evaluate on it.")

    def __post_init__(self) -> None:
        """Refuse values that cannot be trained, and convert numbers to their declared types."""
        sizes = tuple(self.hidden_sizes)
        _require("hidden_sizes", format_sizes(sizes), _SIZES, bool(sizes) and all(units >= 1 for units in sizes))
        object.__setattr__(self, "hidden_sizes", sizes)
        _one_of("activation", self.activation, ACTIVATIONS)
        _one_of("loss", self.loss, LOSSES)
        for name in ("learning_rate", "hinge_margin"):
            self._real(name, "a number above 0", lambda value: value > 0)
        for name in ("weight_decay",):
            self._real(name, "a number from 0 up", lambda value: value >= 0)
        self._real("momentum", "a number from 0 to below 1", lambda value: 0 <= value < 1)
        for name in ("batch_size", "max_epoch", "disp_freq", "test_epoch"):
            _require(name, getattr(self, name), "a whole number from 1 up", getattr(self, name) >= 1)
        _require("seed", self.seed, "a whole number from 0 up", self.seed >= 0)
        self._check_init_std()

    def _check_init_std(self) -> None:
        if isinstance(self.init_std, str):
            _require("init_std", self.init_std, _INIT_STD, self.init_std in RULES)
        elif isinstance(self.init_std, Sequence):
            values = tuple(map(float, self.init_std))
            layers = self.hidden_layers + 1
            sizes = format_sizes(self.hidden_sizes)
            accepted = f"at most {layers} numbers, because hidden_sizes={sizes} has {layers} layers"
            _require("init_std", format_init_std(values), accepted, 1 <= len(values) <= layers)
            positive = all(math.isfinite(value) and value > 0 for value in values)
            _require("init_std", format_init_std(values), _INIT_STD, positive)
            object.__setattr__(self, "init_std", values)
        else:
            self._real("init_std", _INIT_STD, lambda value: value > 0)

    def _real(self, name: str, accepted: str, test: Any) -> None:
        try:
            value = float(getattr(self, name))
        except (TypeError, ValueError):
            value = math.nan
        _require(name, getattr(self, name), accepted, math.isfinite(value) and test(value))
        object.__setattr__(self, name, value)

    @property
    def hidden_layers(self) -> int:
        """The number of hidden layers."""
        return len(self.hidden_sizes)

    @property
    def network(self) -> str:
        """The network alone: "relu-hinge-1h" with published sizes, else "relu-hinge-512x256x128"."""
        published = self.hidden_sizes == PUBLISHED_SIZES.get(self.hidden_layers)
        sizes = f"{self.hidden_layers}h" if published else format_sizes(self.hidden_sizes)
        return f"{self.activation}-{self.loss}-{sizes}"

    @property
    def name(self) -> str:
        """The run's name: the network, then every other value that is not the published one."""
        in_network = {"dataset", "hidden_sizes", "activation", "loss"}
        changes = [f"{name}={text}" for name, text in self.changes().items() if name not in in_network]
        return " ".join([self.network, *changes])

    def layer_sizes(self, features: int, classes: int) -> tuple[int, ...]:
        """Return the width of every layer, including inputs and outputs."""
        return (features, *self.hidden_sizes, classes)

    def parameters(self) -> dict[str, str]:
        """Return every field as text, as MLflow keeps it, and `hidden_layers`, by which people group runs."""
        return {**{item.name: self._text(item) for item in fields(self)}, "hidden_layers": str(self.hidden_layers)}

    def changes(self) -> dict[str, str]:
        """Return the fields whose values differ from their defaults, as text."""
        return {item.name: self._text(item) for item in fields(self) if getattr(self, item.name) != item.default}

    def _text(self, item: "Field[Any]") -> str:
        return str(item.metadata.get("format", str)(getattr(self, item.name)))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "TrainingConfig":
        """Restore a configuration from the parameters of its run in MLflow.

        A missing field gets its default, because the run is older than the field. A run with `hidden_layers` but
        without `hidden_sizes` has the published sizes, because older versions had no others.

        Raises:
            KeyError: there is no `dataset`, so the parameters are not those of a network.
            UsageError: a configuration cannot have one of the values.
            ValueError: a text does not have the type of its field.
        """
        known = dict(parameters)
        if "hidden_sizes" not in known and "hidden_layers" in known:
            known["hidden_sizes"] = format_sizes(PUBLISHED_SIZES[int(known["hidden_layers"])])
        values = {item.name: _parse(item, known[item.name]) for item in fields(cls) if item.name in known}
        return cls(dataset=values.pop("dataset"), **values)

    def fingerprint(self, dataset_digest: str) -> str:
        """Digest everything that decides the result: the changed fields, the data and `model.ARITHMETIC`.

        A default must never change, because the fingerprints of old runs would then stand for the new default.
        """
        text = json.dumps([self.changes(), dataset_digest, model.ARITHMETIC], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


_INIT_STD: Final = f"a number above 0, {' or '.join(RULES)}, or numbers for the layers joined by /, as in 0.05/0.15"
_SIZES: Final = "whole numbers from 1 up joined by x, the units of each hidden layer, as in 128 or 256x64"


def _parse(item: "Field[Any]", text: str) -> Any:
    if "parse" in item.metadata:
        return item.metadata["parse"](text)
    if item.type is bool:
        return text == "True"
    return item.type(text) if callable(item.type) else text


def _one_of(name: str, value: object, accepted: Mapping[Any, object]) -> None:
    _require(name, value, " or ".join(str(choice) for choice in accepted), value in accepted)


def _require(name: str, value: object, accepted: str, holds: bool) -> None:
    if not holds:
        raise _refusal(name, value, accepted)


def _refusal(name: str, value: object, accepted: str) -> UsageError:
    return UsageError(f"{name} is {value!r}; it has to be {accepted}.")
