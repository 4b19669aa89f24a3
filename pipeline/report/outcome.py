"""The outcome: the first part of the report, in sentences that are made from the runs."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.report.measured import Measured
from pipeline.report.networks import label
from pipeline.report.reading import Reading
from pipeline.report.reproduced import Cell, Mark, by_accuracy
from pipeline.report.statements import Claim, Judgement, Verdict
from pipeline.report.statistics import CONFIDENCE

WIDTH: Final = 120
"""Lines of prose have this width, so that people can also read the document as plain text."""
_SHORT: Final = {
    "train_accuracy": "Training accuracy (points)",
    "train_loss": "Training loss",
    "test_accuracy": "Test accuracy (points)",
    "test_loss": "Test loss",
}


def prose(text: str, bullet: str = "") -> str:
    """Break a paragraph, or an item of a list, into lines of WIDTH characters."""
    return textwrap.fill(text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet),
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def standing_alone(reading: Reading, networks: Sequence[TrainingConfig]) -> str:
    """Say what was measured on a data set that was not published."""
    ordered = by_accuracy(reading, networks)
    alone = "The publication is about MNIST, so that nothing of it is compared with these runs."
    if not ordered:
        return prose(alone)
    best, worst = ordered[0], ordered[-1]
    text = f"**{label(best.config)} is the most accurate of {len(ordered)} networks: {best.text} on the test images**"
    if len(ordered) > 1:
        text += f"; {label(worst.config)} is the least accurate: {worst.text}"
    return prose(f"{text}. {alone}")


def reproduction(cells: Sequence[Cell]) -> Iterator[str]:
    """Say how many published values are reproduced, which are not, and by how much they differ."""
    if not cells:
        return
    count = Counter(each.kind for each in cells)
    by_chance = (1 - CONFIDENCE) * len(cells)
    rest = [f"{count[mark]} {words}" for mark, words in _KINDS.items() if count[mark]]
    yield prose(
        f"**{count[Mark.REPRODUCED]} of {len(cells)} published figures are reproduced**"
        + (f"; {', '.join(rest)}" if rest else "")
        + f". A figure is reproduced if it lies where one more seed would with a probability of {CONFIDENCE:.0%}, "
        "up to the rounding of the publication; chance alone would put about "
        f"{by_chance:.1f} of the {len(cells)} outside."
    )
    yield "\n".join(_of_metric(metric, [each for each in cells if each.metric == metric]) for metric in _SHORT)


_KINDS: Final = {
    Mark.OUTSIDE: "outside of what further seeds would give",
    Mark.TOO_WIDE: "with an interval too wide to tell",
    Mark.UNKNOWN: "of one seed, whose chance is unknown",
}


def _of_metric(metric: str, cells: Sequence[Cell]) -> str:
    reproduced = sum(each.kind is Mark.REPRODUCED for each in cells)
    outside = sorted((each for each in cells if each.kind is Mark.OUTSIDE), key=lambda each: -abs(each.beyond))
    by = [f"{label(each.config)} {each.format(-each.beyond) if each.beyond > 0 else '+' + each.format(-each.beyond)}"
          for each in outside]  # fmt: skip
    text = f"{_SHORT[metric]}: {reproduced} of {len(cells)}"
    return prose(f"{text}; outside by: {', '.join(by)}." if by else f"{text}.", "- ")


def effort(found: Sequence[Measured]) -> str:
    """Say how long the runs took, and on which machines."""
    seconds = sum(run.metrics["train_seconds"] for run in found)
    elapsed = max(run.ended for run in found) - min(run.started for run in found)
    machines = " and ".join(sorted({run.machine for run in found} - {""}))
    return prose(
        f"{len(found)} runs with {_duration(seconds)} of training on one core each; {_duration(elapsed / 1000)} passed "
        f"between the start of the first and the end of the last{f', on {machines}' if machines else ''}."
    )


def _duration(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"  # noqa: PLR2004 - two hours


def reasons(claim: Claim) -> Iterator[str]:
    """Yield a claim with its statements, the number for each, and the pairs that contradict a statement."""
    yield f"### Claim {claim.number}"
    yield prose(f"{claim.text} **{claim.verdict}.**")
    yield "\n".join(prose(_reason(each), "- ") for each in claim.judgements)


def _reason(each: Judgement) -> str:
    text = f"{each.text}: **{each.sentence}**, {each.number}"
    if each.share is not None:
        text += f", P = {each.share:.1f}"
    if not each.pairs or each.measure is None:
        return f"{text}."
    count = Counter(pair.verdict for pair in each.pairs)
    text += (
        f". Pairs: {count[Verdict.HOLDS]} for it, {count[Verdict.OPEN]} not decided, {count[Verdict.REFUTED]} against"
    )
    named = [f"{pair.name} {each.measure.number(pair.comparison.estimate.mean)}" for pair in each.reversed_pairs]
    return f"{text}: {', '.join(named)}." if named else f"{text}."
