"""The statements of a published conclusion, and the verdict of the runs on each.

A statement compares networks and claims that a number, such as the mean difference in accuracy, lies in a region: above
zero for "is more accurate than", between two bounds for "about equal". A statement holds if a test shows that the
number is inside the region. It is refuted if a test shows that the number is outside. Otherwise it is not decided. The
tests of a claim are corrected for their number (Holm).
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
    """What the runs show about a statement."""

    HOLDS = "holds"
    REFUTED = "refuted"
    OPEN = "not decided by these runs"
    MISSING = "cannot be judged yet"

    @property
    def short(self) -> str:
        """The verdict in a table."""
        return {Verdict.OPEN: "not decided", Verdict.MISSING: "no runs"}.get(self, str(self))


@dataclass(frozen=True)
class Region:
    """The numbers for which a statement is true: those between two bounds, of which one may be infinite."""

    low: float = -math.inf
    high: float = math.inf

    def contains(self, value: float) -> bool:
        """Whether a number is in the region."""
        return self.low < value < self.high

    def share(self, values: Sequence[float]) -> float:
        """Return the share of numbers in the region; a number on a bound counts half."""
        inside = [0.5 if value in (self.low, self.high) else float(self.contains(value)) for value in values]
        return sum(inside) / len(inside)

    def nearest(self, value: float) -> float:
        """Return the bound that is nearest to a number."""
        return min((self.low, self.high), key=lambda bound: abs(value - bound))

    def p(self, estimate: Estimate) -> float:
        """Return the p-value of the test whether the mean differs from the nearest bound."""
        return estimate.p(self.nearest(estimate.mean))


ABOVE_ZERO: Final = Region(low=0.0)
BELOW_ZERO: Final = Region(high=0.0)


@dataclass(frozen=True)
class Statement:
    """One statement of a claim, with what the runs measured, before any correction.

    Attributes:
        text: the statement.
        measure: the quantity by which networks are compared.
        region: the region in which the mean difference over the pairs has to be.
        overall: the mean difference over the pairs; None if networks have no runs.
        pairs: the difference of each pair.
        missing: the networks without runs.
        note: a remark about the number, such as "against ReLU".
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
    """A pair with its adjusted p-value, the level of its test, its verdict, and the share of seeds that agree."""

    comparison: Comparison
    p: float
    level: float
    verdict: Verdict
    share: float

    @property
    def name(self) -> str:
        """The name of the first network, which distinguishes the pair from others of its statement."""
        return label(self.comparison.pairs[0][0])


@dataclass(frozen=True)
class Judgement:
    """A statement with its verdict.

    Attributes:
        text: the statement.
        verdict: the verdict of the runs.
        number: the number that decides, with its interval, as text.
        measure: the quantity by which networks are compared; None if the statement compares none.
        overall: the comparison that decides; None if the statement compares no networks.
        p: the adjusted p-value.
        level: the level of the interval.
        share: the share of seeds that agree with the statement.
        pairs: each pair with its own verdict.
        missing: the networks without runs.
        remedy: what would decide an undecided statement.
        region: the region of the number; None if the statement compares no networks.
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
        """The pairs that contradict the statement."""
        return [pair for pair in self.pairs if pair.verdict is Verdict.REFUTED]

    @property
    def sentence(self) -> str:
        """The verdict in words; for an undecided statement, also what would decide it."""
        return f"{self.verdict}: {self.remedy}" if self.remedy else str(self.verdict)


@dataclass(frozen=True)
class Claim:
    """A published conclusion with its judged statements; `text` is the published one, `title` is for tables."""

    number: int
    title: str
    text: str
    judgements: Sequence[Judgement] = field(default_factory=list)

    @property
    def missing(self) -> list[TrainingConfig]:
        """The networks that have no runs yet."""
        return list(dict.fromkeys(config for each in self.judgements for config in each.missing))

    @property
    def verdict(self) -> str:
        """The numbers of statements by verdict: `3 of 5 hold, 1 refuted, 1 open`."""
        count = Counter(each.verdict for each in self.judgements)
        total = len(self.judgements)
        parts = [f"{count[Verdict.HOLDS]} of {total} {'holds' if total == 1 else 'hold'}"]
        for verdict, word in ((Verdict.REFUTED, "refuted"), (Verdict.OPEN, "open"), (Verdict.MISSING, "without runs")):
            if count[verdict]:
                parts.append(f"{count[verdict]} {word}")
        return ", ".join(parts)


def judge(statements: Sequence[Statement | Judgement]) -> list[Judgement]:
    """Judge all statements of one claim; those that are judged already stay as they are.

    The tests of the statements are corrected together, and so are the tests of all their pairs.
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
    """Say what would decide an undecided statement: a number of seeds, or that more seeds do not help."""
    if estimate.error is None:
        return "one seed leaves its chance unknown"
    seeds = estimate.shifted(-region.nearest(estimate.mean)).deciding_seeds(level)
    if seeds is None:
        return "seeds cannot: the test images are too few"
    if seeds > MOST_SEEDS:
        return f"more than {MOST_SEEDS} seeds would be needed at this effect"
    return f"{seeds} seeds would decide it at this effect"
