"""What a published conclusion says, statement by statement, and the verdict of the runs on each.

A statement names a region in which its number has to lie: above zero for "is more accurate than", between two bounds
for "about equal". It holds where a test decides that the number lies inside, is refuted where a test decides that the
number lies outside, and is not decided otherwise. The tests of a claim are corrected together (Holm).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.report.comparison import Comparison, Measure
from pipeline.report.networks import label
from pipeline.report.statistics import CONFIDENCE, MOST_SEEDS, Estimate, holm

ALPHA: Final = 1 - CONFIDENCE


class Verdict(StrEnum):
    """What the runs say of a statement."""

    HOLDS = "holds"
    REFUTED = "refuted"
    OPEN = "not decided by these runs"
    MISSING = "cannot be judged yet"

    @property
    def short(self) -> str:
        """The verdict as a table has it."""
        return {Verdict.OPEN: "not decided", Verdict.MISSING: "no runs"}.get(self, str(self))


@dataclass(frozen=True)
class Region:
    """Where a number has to lie: between two bounds, of which one may be infinite."""

    low: float = -math.inf
    high: float = math.inf

    def contains(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low < value < self.high

    def share(self, values: Sequence[float]) -> float:
        """The share of values that lie inside; one that lies on a bound counts half."""
        inside = [0.5 if value in (self.low, self.high) else float(self.contains(value)) for value in values]
        return sum(inside) / len(inside)

    def nearest(self, value: float) -> float:
        """The bound from which a value is the least far away."""
        return min((self.low, self.high), key=lambda bound: abs(value - bound))

    def p(self, estimate: Estimate) -> float:
        """The p of the test that decides on which side of the nearest bound the mean lies."""
        return estimate.p(self.nearest(estimate.mean))


ABOVE_ZERO: Final = Region(low=0.0)
BELOW_ZERO: Final = Region(high=0.0)


@dataclass(frozen=True)
class Statement:
    """One thing that a claim says, as the runs have it before any correction.

    Attributes:
        text: what it says.
        measure: what networks are compared by.
        region: where the mean difference over the pairs has to lie.
        overall: the mean over the pairs; None where networks are missing.
        pairs: each pair by itself.
        missing: the networks without which it cannot be judged.
        note: what is to be added to the number, as "ReLU is the best".
    """

    text: str
    measure: Measure
    region: Region
    overall: Comparison | None
    pairs: Sequence[Comparison] = ()
    missing: Sequence[TrainingConfig] = ()
    note: str = ""


@dataclass(frozen=True)
class JudgedPair:
    """A pair with its adjusted p, the level of its test, its verdict and the share of seeds that bear it out."""

    comparison: Comparison
    p: float
    level: float
    verdict: Verdict
    share: float

    @property
    def name(self) -> str:
        """The first network, which tells the pair from the others of its statement."""
        return label(self.comparison.pairs[0][0])


@dataclass(frozen=True)
class Judgement:
    """A statement with its verdict.

    Attributes:
        text: what it says.
        verdict: of the runs.
        number: the number that decides, with its interval.
        measure: of the number; None where no networks are compared.
        overall: the comparison that decides; None where no networks are compared.
        p: adjusted.
        level: of the interval.
        share: of the seeds that bear it out.
        pairs: each pair by itself.
        missing: the networks without which it cannot be judged.
        remedy: what would decide a statement that is not decided.
        region: where the number has to lie; None where no networks are compared.
    """

    text: str
    verdict: Verdict
    number: str
    measure: Measure | None = None
    overall: Comparison | None = None
    p: float | None = None
    level: float = CONFIDENCE
    share: float | None = None
    pairs: Sequence[JudgedPair] = ()
    missing: Sequence[TrainingConfig] = ()
    remedy: str = ""
    region: Region | None = None

    @property
    def reversed_pairs(self) -> list[JudgedPair]:
        """The pairs that are decided against the statement."""
        return [pair for pair in self.pairs if pair.verdict is Verdict.REFUTED]

    @property
    def sentence(self) -> str:
        """The verdict in words, with what would decide it where nothing does."""
        return f"{self.verdict}: {self.remedy}" if self.remedy else str(self.verdict)


@dataclass(frozen=True)
class Claim:
    """A published conclusion, its statements judged; `text` is as published, `title` names it in a table."""

    number: int
    title: str
    text: str
    judgements: Sequence[Judgement] = field(default_factory=list)

    @property
    def missing(self) -> list[TrainingConfig]:
        """The networks that have yet to be trained."""
        return list(dict.fromkeys(config for each in self.judgements for config in each.missing))

    @property
    def verdict(self) -> str:
        """How many statements hold, are refuted and are open: `3 of 5 hold, 1 refuted, 1 open`."""
        count = Counter(each.verdict for each in self.judgements)
        total = len(self.judgements)
        parts = [f"{count[Verdict.HOLDS]} of {total} {'holds' if total == 1 else 'hold'}"]
        for verdict, word in ((Verdict.REFUTED, "refuted"), (Verdict.OPEN, "open"), (Verdict.MISSING, "without runs")):
            if count[verdict]:
                parts.append(f"{count[verdict]} {word}")
        return ", ".join(parts)


def judge(statements: Sequence[Statement | Judgement]) -> list[Judgement]:
    """Judge the statements of one claim together; those that are judged already stay as they are.

    The verdicts of the statements are one family of tests, the verdicts of their pairs another one.
    """
    compared = [each for each in statements if isinstance(each, Statement) and each.overall is not None]
    overall = iter(holm([each.region.p(each.overall.estimate) for each in compared if each.overall]))
    pairs = iter(holm([each.region.p(pair.estimate) for each in compared for pair in each.pairs]))
    judged = []
    for each in statements:
        if isinstance(each, Judgement):
            judged.append(each)
        elif each.overall is None:
            judged.append(Judgement(each.text, Verdict.MISSING, "runs are missing", missing=each.missing))
        else:
            of_pairs = [_judged_pair(pair, each.region, *next(pairs)) for pair in each.pairs]
            judged.append(_judged(each, each.overall, of_pairs, *next(overall)))
    return judged


def _judged_pair(pair: Comparison, region: Region, p: float, level: float) -> JudgedPair:
    return JudgedPair(pair, p, level, _verdict(pair.estimate, region, p), region.share(pair.values))


def _judged(
    statement: Statement, overall: Comparison, pairs: Sequence[JudgedPair], p: float, level: float
) -> Judgement:
    verdict = _verdict(overall.estimate, statement.region, p)
    number = statement.measure.text(overall.estimate, level)
    return Judgement(
        statement.text,
        verdict,
        f"{number} ({statement.note})" if statement.note else number,
        statement.measure,
        overall,
        p,
        level,
        statement.region.share(overall.values),
        pairs,
        statement.missing,
        remedy(overall.estimate, statement.region, level) if verdict is Verdict.OPEN else "",
        statement.region,
    )


def _verdict(estimate: Estimate, region: Region, p: float) -> Verdict:
    if p > ALPHA:
        return Verdict.OPEN
    return Verdict.HOLDS if region.contains(estimate.mean) else Verdict.REFUTED


def remedy(estimate: Estimate, region: Region, level: float) -> str:
    """What would decide a statement that is not decided: a number of seeds, or nothing of that kind."""
    if estimate.error is None:
        return "one seed leaves its chance unknown"
    seeds = estimate.shifted(-region.nearest(estimate.mean)).deciding_seeds(level)
    if seeds is None:
        return "seeds cannot: the test images are too few"
    if seeds > MOST_SEEDS:
        return f"more than {MOST_SEEDS} seeds would be needed at this effect"
    return f"{seeds} seeds would decide it at this effect"
