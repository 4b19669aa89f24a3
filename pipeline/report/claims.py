"""The published conclusions, each split into statements that the runs alone decide."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import mean
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.experiments import LEARNING_RATES, STUDIES, WEAK_NETWORK
from pipeline.report import published
from pipeline.report.comparison import ACCURACY, EPOCHS, LOSS, SECONDS, Comparison, Measure, compare
from pipeline.report.measured import SEEDS_WITH_CURVES
from pipeline.report.networks import (
    DEPTHS,
    PUBLISHED_ACTIVATIONS,
    Pair,
    depth_twins,
    of_base,
    published_networks,
    shown,
    twins,
)
from pipeline.report.reading import Reading
from pipeline.report.reproduced import Mark, mark
from pipeline.report.statements import (
    ABOVE_ZERO,
    BELOW_ZERO,
    Claim,
    Judgement,
    Region,
    Statement,
    Verdict,
    judge,
)
from pipeline.report.statistics import paired

ABOUT_EQUAL: Final = 0.25
"""Two numbers of epochs that differ by no more than this share of the larger one are about equal."""
CLEARLY_LONGER: Final = 1.2
"""A training time this many times another one is clearly higher."""
STANDS_STILL: Final = 0.001
"""A test accuracy that gains no more than this in the last tenth of the epochs stands still."""
SMALL_GAIN: Final = 0.01
_LOSS_ORDER: Final = (("hinge", "softmax_cross_entropy"), ("softmax_cross_entropy", "euclidean"))

Statements = list[Statement | Judgement]


def judge_claims(reading: Reading) -> list[Claim]:
    """Judge the published conclusions by the runs of a reading; there are none on a data set that was not published."""
    if not published.covers(reading.base):
        return []
    return [
        Claim(number, title, text, judge(statements(reading)))
        for number, (title, text, statements) in enumerate(_CLAIMS, start=1)
    ]


def _time(reading: Reading) -> Statements:
    orders = [("gelu", "sigmoid"), ("sigmoid", "relu"), *_LOSS_ORDER]
    return [_order(reading, SECONDS, pair, "trains longer than", ABOVE_ZERO, depths=(1,)) for pair in orders]


def _convergence(reading: Reading) -> Statements:
    equal = Region(math.log(1 - ABOUT_EQUAL), -math.log(1 - ABOUT_EQUAL))
    faster = [("gelu", "sigmoid"), ("relu", "sigmoid"), *_LOSS_ORDER]
    return [
        _order(reading, EPOCHS, ("gelu", "relu"), "converges about as fast as", equal),
        *(_order(reading, EPOCHS, pair, "converges faster than", BELOW_ZERO) for pair in faster),
    ]


def _accuracy(reading: Reading) -> Statements:
    orders = [("gelu", "relu"), ("relu", "sigmoid"), *_LOSS_ORDER]
    ordered = [_order(reading, ACCURACY, pair, "is more accurate than", ABOVE_ZERO) for pair in orders]
    return [*ordered, _best_activation(reading)]


def _order(
    reading: Reading,
    measure: Measure,
    names: tuple[str, str],
    relation: str,
    region: Region,
    *,
    depths: Sequence[int] = DEPTHS,
) -> Statement:
    """State that networks with the first activation or loss differ as claimed from those with the second."""
    text = f"{shown(names[0])} {relation} {shown(names[1])}"
    return _statement(reading, text[:1].upper() + text[1:], measure, region, twins(reading.base, names, depths))


def _statement(
    reading: Reading, text: str, measure: Measure, region: Region, pairs: Sequence[Pair], note: str = ""
) -> Statement:
    """Make a statement about the mean over pairs; if a pair has no runs, the mean is None."""
    of_pairs = [compare(reading, measure, [pair]) for pair in pairs]
    known = [each for each in of_pairs if each is not None]
    lacking = [config for pair, each in zip(pairs, of_pairs, strict=True) if each is None for config in pair]
    missing = [reading.config(config) for config in lacking if not reading.of(config)]
    overall = compare(reading, measure, pairs) if len(known) == len(pairs) else None
    if overall is None:  # networks that have runs but no common seed are missing, too
        missing = missing or [reading.config(config) for pair in pairs for config in pair]
    return Statement(text, measure, region, overall, known if len(pairs) > 1 else (), tuple(missing), note)


def _best_activation(reading: Reading) -> Statement:
    """State that GELU is more accurate than the best of the other activations."""
    networks = published_networks(reading.base)
    of_activation = {
        name: _mean_accuracy(reading, [config for config in networks if config.activation == name])
        for name in PUBLISHED_ACTIVATIONS
    }
    rival = max((name for name in of_activation if name != "gelu"), key=of_activation.__getitem__)
    note = f"against {shown(rival)}"
    text = "GELU is the best activation"
    statement = _statement(reading, text, ACCURACY, ABOVE_ZERO, twins(reading.base, ("gelu", rival)), note)
    return replace(statement, pairs=())  # each pair already belongs to another statement


def _mean_accuracy(reading: Reading, networks: Sequence[TrainingConfig]) -> float:
    """Return the mean test accuracy over networks, or 0 without runs."""
    found = [mean(run.metrics["test_accuracy"] for run in runs) for config in networks if (runs := reading.of(config))]
    return mean(found) if found else 0.0


def _depth(reading: Reading) -> Statements:
    pairs = depth_twins(reading.base)
    statements = (
        ("Two layers are more accurate than one", ACCURACY, ABOVE_ZERO),
        ("Two layers have the lower test loss", LOSS, BELOW_ZERO),
        ("The gain is under 1 percentage point", ACCURACY, Region(high=SMALL_GAIN)),
        (f"Two layers train at least {CLEARLY_LONGER} times as long", SECONDS, Region(low=math.log(CLEARLY_LONGER))),
    )
    return [_statement(reading, text, measure, region, pairs) for text, measure, region in statements]


def _weakest(reading: Reading) -> Statements:
    longer = of_base(reading.base, STUDIES["max_epoch"][0])
    return [
        *(_weakest_of(reading, depth) for depth in DEPTHS),
        *_reaches(reading, longer, train_accuracy=0.9605, test_accuracy=0.9567),
        _stands_still(reading, longer),
    ]


def _weakest_of(reading: Reading, depth: int) -> Statement:
    """State that Sigmoid + Euclidean is less accurate than the weakest of the other networks."""
    networks = published_networks(reading.base, [depth])
    weak = next(
        each for each in networks if (each.activation, each.loss) == (WEAK_NETWORK.activation, WEAK_NETWORK.loss)
    )
    rivals = [each for each in networks if each != weak]
    rival = min(rivals, key=lambda each: _mean_accuracy(reading, [each]))
    missing = tuple(reading.config(each) for each in networks if not reading.of(each))
    text = f"Sigmoid + Euclidean is the weakest of {depth} hidden layer{'s'[: depth - 1]}"
    statement = _statement(reading, text, ACCURACY, ABOVE_ZERO, [(rival, weak)], f"next: {_shown(rival)}")
    return replace(statement, overall=None, missing=missing) if missing else statement


def _shown(config: TrainingConfig) -> str:
    return f"{shown(config.activation)} + {shown(config.loss)}"


def _reaches(reading: Reading, config: TrainingConfig, **accuracies: float) -> list[Judgement]:
    """Judge whether a network reproduces the accuracies that the publication states for it."""
    return [_reproduces(reading, config, metric, stated) for metric, stated in accuracies.items()]


def _reproduces(reading: Reading, config: TrainingConfig, metric: str, stated: float) -> Judgement:
    split = "training" if metric.startswith("train") else "test"
    text = f"{config.max_epoch} epochs reach {stated:.2%} {split} accuracy"
    found = mark(reading, config, metric, stated)
    if found is None:
        return Judgement(text, Verdict.MISSING, "runs are missing", missing=(reading.config(config),))
    verdict = {Mark.REPRODUCED: Verdict.HOLDS, Mark.OUTSIDE: Verdict.REFUTED}.get(found.kind, Verdict.OPEN)
    return Judgement(text, verdict, found.text, remedy="" if verdict is not Verdict.OPEN else found.kind.value)


def _stands_still(reading: Reading, config: TrainingConfig) -> Statement:
    text = f"The last tenth of {config.max_epoch} epochs gains at most {100 * STANDS_STILL:.1f} points"
    gains = []
    for run in reading.of(config)[:SEEDS_WITH_CURVES]:
        curve = reading.runs.curve(run, "test/accuracy")
        if before := [value for epoch, value in curve if epoch <= 0.9 * config.max_epoch]:
            gains.append(curve[-1][1] - before[-1])
    if not gains:
        return Statement(text, ACCURACY, Region(), None, missing=(reading.config(config),))
    gain = Comparison([(config, config)], paired(gains), gains)
    return Statement(text, ACCURACY, Region(high=STANDS_STILL), gain)


def _learning_rate(reading: Reading) -> Statements:
    networks = {rate: of_base(reading.base, replace(WEAK_NETWORK, learning_rate=rate)) for rate in LEARNING_RATES}
    smaller = {rate: _mean_accuracy(reading, [networks[rate]]) for rate in LEARNING_RATES if rate not in (0.09, 0.12)}
    rival = max(smaller, key=smaller.__getitem__)
    missing = tuple(reading.config(each) for each in networks.values() if not reading.of(each))
    best = _statement(
        reading, "0.09 is the best of the learning rates up to it", ACCURACY, ABOVE_ZERO,
        [(networks[0.09], networks[rival])], f"against {rival}",
    )  # fmt: skip
    falls = _statement(
        reading, "0.12 is worse again than 0.09", ACCURACY, ABOVE_ZERO, [(networks[0.09], networks[0.12])]
    )
    return [replace(each, overall=None, missing=missing) if missing else each for each in (best, falls)]


def _hinge(reading: Reading) -> Statements:
    trained = of_base(reading.base, STUDIES["best_learning_rate_with_hinge"][0])
    return [*_reaches(reading, trained, train_accuracy=1.0, test_accuracy=0.98)]


_CLAIMS: Final[Sequence[tuple[str, str, Callable[[Reading], Statements]]]] = (
    ("Training time", "GELU > Sigmoid > ReLU; hinge > cross-entropy > Euclidean.", _time),
    (
        "Convergence",
        "GELU about equal to ReLU, both faster than Sigmoid; hinge faster than cross-entropy faster than Euclidean.",
        _convergence,
    ),
    (
        "Accuracy",
        "GELU > ReLU > Sigmoid; hinge > cross-entropy > Euclidean. GELU is the best activation.",
        _accuracy,
    ),
    (
        "Depth",
        (
            "Most two-layer networks are more accurate with lower loss than their one-layer twin, by under 1 "
            "percentage point, at a clearly higher training time."
        ),
        _depth,
    ),
    (
        "The weakest network",
        (
            "Sigmoid + Euclidean is the weakest network. Training it for 400 epochs brings 96.05 % / 95.67 % (train / "
            "test) and nothing more after that."
        ),
        _weakest,
    ),
    (
        "Learning rate",
        "Its best learning rate of 0.01, 0.02, 0.03, 0.06, 0.09, 0.12 (200 epochs) is 0.09; 0.12 is worse again.",
        _learning_rate,
    ),
    (
        "Sigmoid + hinge",
        "Sigmoid + hinge at learning rate 0.09 reaches 100 % / 98 % in 200 epochs.",
        _hinge,
    ),
)
"""Title, text and statements of each published conclusion, in the published order."""
