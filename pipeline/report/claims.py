"""The published conclusions, each judged from the runs and from nothing else."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import product
from statistics import mean
from typing import Any, Final

from pipeline.config import TrainingConfig
from pipeline.experiments import LEARNING_RATES, STUDIES, WEAK_NETWORK
from pipeline.report.comparison import Figure, compare, epochs_to
from pipeline.report.measured import SEEDS_WITH_CURVES, Measured, Runs

TARGETS: Final = (0.85, 0.90, 0.95)
"""Test accuracies; convergence is the number of epochs to reach them."""
ABOUT_EQUAL: Final = 0.25
"""Two numbers of epochs that differ by no more than this share of the larger one are about equal."""
NEAR: Final = 0.005
"""An accuracy within half a percentage point of the published one reproduces it."""
CLEARLY_LONGER: Final = 1.2
"""A training time this many times another one is clearly higher."""
STANDS_STILL: Final = 0.001
_DEPTHS: Final = (1, 2)
_ACTIVATIONS: Final = ("relu", "sigmoid", "gelu")
_LOSSES: Final = ("euclidean", "softmax_cross_entropy", "hinge")
_LOSS_ORDER: Final = (("hinge", "softmax_cross_entropy"), ("softmax_cross_entropy", "euclidean"))
_SMALL: Final = 0.01


class Verdict(StrEnum):
    """What the runs say of a claim."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    FAILS = "does not hold"
    OPEN = "cannot be judged yet"


@dataclass(frozen=True)
class Finding:
    """One thing that a claim says.

    Attributes:
        says: what it says.
        figures: the measured figures that decide it.
        holding: the comparisons that bear it out.
        judged: all comparisons that were made for it.
        missing: the networks without which it cannot be judged.
    """

    says: str
    figures: str
    holding: int
    judged: int
    missing: tuple[TrainingConfig, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A published conclusion."""

    number: int
    text: str
    findings: Sequence[Finding] = field(default_factory=list)

    @property
    def missing(self) -> list[TrainingConfig]:
        """The networks that have yet to be trained."""
        return list(dict.fromkeys(config for finding in self.findings for config in finding.missing))

    @property
    def verdict(self) -> Verdict:
        """Holds where every comparison bears it out, in part where some do."""
        judged = sum(finding.judged for finding in self.findings)
        if self.missing or not judged:
            return Verdict.OPEN
        holding = sum(finding.holding for finding in self.findings)
        return Verdict.HOLDS if holding == judged else Verdict.IN_PART if holding else Verdict.FAILS


def judge(runs: Runs) -> list[Claim]:
    """The seven published conclusions, judged from the runs."""
    judges = (_time, _convergence, _accuracy, _depth, _weakest, _learning_rate, _hinge)
    return [claim(number, runs) for number, claim in enumerate(judges, start=1)]


def _time(number: int, runs: Runs) -> Claim:
    text = "Training time: GELU > Sigmoid > ReLU; hinge > softmax cross-entropy > Euclidean."
    orders = [("gelu", "sigmoid"), ("sigmoid", "relu"), *_LOSS_ORDER]
    figure = _figure("train_seconds")
    return Claim(number, text, [_order(runs, pair, (1,), figure, "takes longer than", _seconds) for pair in orders])


def _accuracy(number: int, runs: Runs) -> Claim:
    text = "Accuracy: GELU > ReLU > Sigmoid; hinge > cross-entropy > Euclidean. GELU is the best activation."
    orders = [("gelu", "relu"), ("relu", "sigmoid"), *_LOSS_ORDER]
    figure = _figure("test_accuracy")
    findings = [_order(runs, pair, _DEPTHS, figure, "is more accurate than", _points) for pair in orders]
    return Claim(number, text, [*findings, _best_activation(runs)])


def _order(
    runs: Runs,
    pair: tuple[str, str],
    depths: Sequence[int],
    figure: Figure,
    relation: str,
    told: Callable[[float], str],
) -> Finding:
    """Whether networks with the first activation or loss have larger figures than their twins with the second."""
    return _counted(f"{pair[0]} {relation} {pair[1]}", runs, list(_twins(runs.base, pair, depths)), figure, told)


def _counted(
    says: str,
    runs: Runs,
    twins: Iterable[tuple[TrainingConfig, TrainingConfig]],
    figure: Figure,
    told: Callable[[float], str],
) -> Finding:
    """How many of the pairs have the larger figure on the first side."""
    found = [(first, second, compare(runs, first, second, figure)) for first, second in twins]
    missing = tuple(config for first, second, each in found if each is None for config in _lacking(runs, first, second))
    known = [(first, each) for first, _, each in found if each is not None]
    larger = [each for _, each in known if each.sign > 0]
    ties = sum(each.tie for _, each in known)
    against = [first.name for first, each in known if each.sign < 0]
    figures = f"in {len(larger)} of {len(known)} pairs"
    if known:
        figures += f", by {told(mean(each.mean for _, each in known))} on average"
    if ties:
        figures += f"; {ties} {'tie' if ties == 1 else 'ties'}"
    if against:
        figures += f"; the other way round: {', '.join(against)}"
    return Finding(says, figures, len(larger), len(known), missing)


def _lacking(runs: Runs, *networks: TrainingConfig) -> Sequence[TrainingConfig]:
    """Those without a run; all of them where they have runs, but of no common seed."""
    return [config for config in networks if not runs.of(config)] or networks


def _twins(
    base: TrainingConfig, pair: tuple[str, str], depths: Sequence[int]
) -> Iterator[tuple[TrainingConfig, TrainingConfig]]:
    """Networks that differ in nothing but the two activations, or the two losses, of `pair`."""
    kind, other, others = (
        ("activation", "loss", _LOSSES) if pair[0] in _ACTIVATIONS else ("loss", "activation", _ACTIVATIONS)
    )
    for depth, value in product(depths, others):
        first, second = (
            replace(base, hidden_layers=depth, **dict[str, Any]({other: value, kind: name})) for name in pair
        )
        yield first, second


def _best_activation(runs: Runs) -> Finding:
    means: dict[str, float] = {}
    missing: list[TrainingConfig] = []
    for activation in _ACTIVATIONS:
        networks = [config for depth in _DEPTHS for config in _networks(runs, depth) if config.activation == activation]
        missing += [config for config in networks if not runs.of(config)]
        if found := [_mean(runs, config, "test_accuracy") for config in networks if runs.of(config)]:
            means[activation] = mean(found)
    told = ", ".join(f"{name} {value:.2%}" for name, value in means.items())
    holds = bool(means) and max(means, key=means.__getitem__) == "gelu"
    return Finding("gelu has the highest mean test accuracy", told, int(holds), 1, tuple(missing))


def _convergence(number: int, runs: Runs) -> Claim:
    text = (
        "Convergence: GELU about equal to ReLU, both faster than Sigmoid; hinge faster than cross-entropy faster than "
        "Euclidean."
    )
    faster = [("gelu", "sigmoid"), ("relu", "sigmoid"), *_LOSS_ORDER]
    findings = [_convergence_of(runs, ("gelu", "relu"), "converges about as fast as", _about_equal)]
    findings += [_convergence_of(runs, pair, "converges faster than", _fewer) for pair in faster]
    return Claim(number, text, findings)


def _convergence_of(runs: Runs, pair: tuple[str, str], relation: str, holds: Callable[[float, float], bool]) -> Finding:
    """Compare the epochs that twins need to each target that at least one of them reaches."""
    missing: list[TrainingConfig] = []
    holding, told = 0, []
    for first, second in _twins(runs.base, pair, _DEPTHS):
        lacking = [config for config in (first, second) if not runs.of(config)]
        missing += lacking
        for target in () if lacking else TARGETS:
            ours, theirs = mean_epochs(runs, first, target), mean_epochs(runs, second, target)
            if min(ours, theirs) > runs.base.max_epoch:
                continue
            holding += holds(ours, theirs)
            told.append(ours / theirs)
    figures = f"in {holding} of {len(told)} comparisons"
    if told:
        figures += f", needing {mean(told):.2f} times the epochs on average"
    return Finding(f"{pair[0]} {relation} {pair[1]}", figures, holding, len(told), tuple(missing))


def mean_epochs(runs: Runs, config: TrainingConfig, target: float) -> float:
    """Epochs to reach a test accuracy, the mean over seeds; one that never does counts as the epoch after the last."""
    reached = [epochs_to(runs.curve(run, "test/accuracy"), target) for run in runs.of(config)[:SEEDS_WITH_CURVES]]
    return mean(config.max_epoch + 1 if epoch is None else epoch for epoch in reached)


def _about_equal(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= ABOUT_EQUAL * max(ours, theirs)


def _fewer(ours: float, theirs: float) -> bool:
    return ours < theirs


def _depth(number: int, runs: Runs) -> Claim:
    text = (
        "Most two-layer networks are more accurate with lower loss than their one-layer twin, by under 1 percentage "
        "point, at a clearly higher training time."
    )
    twins = [(replace(one, hidden_layers=2), one) for one in _networks(runs, 1)]
    accuracy = _counted("two layers are more accurate", runs, twins, _figure("test_accuracy"), _points)
    turned = [(one, two) for two, one in twins]
    loss = _counted("two layers have the lower test loss", runs, turned, _figure("test_loss"), _plain)
    return Claim(number, text, [_most(accuracy), _most(loss), _small_gain(runs, twins), _clearly_longer(runs, twins)])


def _most(finding: Finding) -> Finding:
    """A finding that asks for most of its comparisons only."""
    holds = 2 * finding.holding > finding.judged
    return replace(finding, says=f"most: {finding.says}", holding=int(holds), judged=min(finding.judged, 1))


def _small_gain(runs: Runs, twins: Sequence[tuple[TrainingConfig, TrainingConfig]]) -> Finding:
    found = [each for two, one in twins if (each := compare(runs, two, one, _figure("test_accuracy")))]
    gains = [each.mean for each in found if each.mean > 0]
    told = f"gains from {min(gains):.2%} to {max(gains):.2%}" if gains else "no gain"
    return Finding("the gain is under 1 percentage point", told, sum(gain < _SMALL for gain in gains), len(gains))


def _clearly_longer(runs: Runs, twins: Sequence[tuple[TrainingConfig, TrainingConfig]]) -> Finding:
    ratios = [
        _mean(runs, two, "train_seconds") / _mean(runs, one, "train_seconds")
        for two, one in twins
        if runs.of(two) and runs.of(one)
    ]
    told = f"{min(ratios):.2f} to {max(ratios):.2f} times as long" if ratios else "no pair"
    says = f"two layers train at least {CLEARLY_LONGER} times as long"
    return Finding(says, told, sum(ratio >= CLEARLY_LONGER for ratio in ratios), len(ratios))


def _weakest(number: int, runs: Runs) -> Claim:
    text = (
        "Sigmoid + Euclidean is the weakest network. Training it for 400 epochs brings 96.05 % / 95.67 % "
        "(train / test) and nothing more after that."
    )
    longer = _of_base(runs, STUDIES["max_epoch"][0])
    findings = [_weakest_of(runs, depth) for depth in _DEPTHS]
    findings.append(_near(runs, longer, {"train_accuracy": 0.9605, "test_accuracy": 0.9567}))
    return Claim(number, text, [*findings, _stands_still(runs, longer)])


def _weakest_of(runs: Runs, depth: int) -> Finding:
    networks = _networks(runs, depth)
    missing = tuple(config for config in networks if not runs.of(config))
    says = f"sigmoid + euclidean has the lowest test accuracy with {depth} hidden layer{'s'[: depth - 1]}"
    known = {config: _mean(runs, config, "test_accuracy") for config in networks if runs.of(config)}
    if not known:
        return Finding(says, "no runs", 0, 1, missing)
    worst = min(known, key=known.__getitem__)
    holds = (worst.activation, worst.loss) == (WEAK_NETWORK.activation, WEAK_NETWORK.loss)
    return Finding(says, f"the lowest is {worst.name}, {known[worst]:.2%}", int(holds), 1, missing)


def _near(runs: Runs, config: TrainingConfig, published: dict[str, float]) -> Finding:
    """Whether the accuracies come near the published ones."""
    says = f"{config.name} reaches " + " / ".join(f"{value:.2%}" for value in published.values())
    if not runs.of(config):
        return Finding(says, "no run", 0, len(published), (config,))
    measured = {key: _mean(runs, config, key) for key in published}
    holding = sum(abs(measured[key] - value) <= NEAR for key, value in published.items())
    told = " / ".join(f"{value:.2%}" for value in measured.values())
    return Finding(says, f"{told} measured", holding, len(published))


def _stands_still(runs: Runs, config: TrainingConfig) -> Finding:
    says = f"in the last tenth of {config.max_epoch} epochs its test accuracy gains no more than {STANDS_STILL:.1%}"
    gains = []
    for run in runs.of(config)[:SEEDS_WITH_CURVES]:
        curve = runs.curve(run, "test/accuracy")
        before = [value for epoch, value in curve if epoch <= 0.9 * config.max_epoch]
        if before:
            gains.append(curve[-1][1] - before[-1])
    if not gains:
        return Finding(says, "no curve", 0, 1, (config,))
    return Finding(says, f"gains {mean(gains):+.2%}", int(mean(gains) <= STANDS_STILL), 1)


def _learning_rate(number: int, runs: Runs) -> Claim:
    text = "Its best learning rate of 0.01, 0.02, 0.03, 0.06, 0.09, 0.12 (200 epochs) is 0.09; 0.12 is worse again."
    networks = {rate: _of_base(runs, replace(WEAK_NETWORK, learning_rate=rate)) for rate in LEARNING_RATES}
    others = [(networks[0.09], network) for rate, network in networks.items() if rate not in (0.09, 0.12)]
    accuracy = _figure("test_accuracy")
    best = _counted("0.09 is more accurate than the smaller ones", runs, others, accuracy, _points)
    falls = _counted("0.09 is more accurate than 0.12", runs, [(networks[0.09], networks[0.12])], accuracy, _points)
    return Claim(number, text, [best, falls])


def _hinge(number: int, runs: Runs) -> Claim:
    text = "Sigmoid + hinge at learning rate 0.09 reaches 100 % / 98 % in 200 epochs."
    network = _of_base(runs, STUDIES["best_learning_rate_with_hinge"][0])
    return Claim(number, text, [_near(runs, network, {"train_accuracy": 1.0, "test_accuracy": 0.98})])


def _networks(runs: Runs, depth: int) -> list[TrainingConfig]:
    """The nine published networks of a depth."""
    return [replace(runs.base, hidden_layers=depth, activation=a, loss=b) for a, b in product(_ACTIVATIONS, _LOSSES)]


def _of_base(runs: Runs, published: TrainingConfig) -> TrainingConfig:
    """A published study's network on the report's data and with its other hyperparameters."""
    varied = ("hidden_layers", "activation", "loss", "learning_rate", "max_epoch")
    return replace(runs.base, **{name: getattr(published, name) for name in varied})


def _figure(name: str) -> Figure:
    def of(run: Measured) -> float:
        return run.figures[name]

    return of


def _mean(runs: Runs, config: TrainingConfig, name: str) -> float:
    return mean(run.figures[name] for run in runs.of(config))


def _points(value: float) -> str:
    return f"{100 * value:+.2f} percentage points"


def _seconds(value: float) -> str:
    return f"{value:+.1f} s"


def _plain(value: float) -> str:
    return f"{value:+.4f}"
