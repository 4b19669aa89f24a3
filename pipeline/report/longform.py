"""All figures of the report in long form, a value in each row, for other programs to read."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.report import published
from pipeline.report.measured import FIGURES, Runs
from pipeline.report.statements import Claim

FIGURES_FILE: Final = "results.csv"
COMPARISONS_FILE: Final = "comparisons.csv"
_FIGURE_HEADS: Final = ("run", "metric", "measured")
_COMPARISON_HEADS: Final = (
    "claim", "statement", "pair", "measure", "seeds", "difference", "low", "high", "level", "adjusted_p",
    "share_of_seeds", "verdict",
    "claimed_low", "claimed_high",
)  # fmt: skip


def write(folder: Path, runs: Runs, configs: Iterable[TrainingConfig], claims: Sequence[Claim]) -> None:
    """Write the figures of every run, and every comparison behind the claims, each into a file of its own.

    On data that the publication is not about, there are no comparisons and no published figures.
    """
    rows = list(figures(runs, configs))
    heads = [*runs.base.parameters(), *_FIGURE_HEADS]
    if published.covers(runs.base):
        _write(folder / FIGURES_FILE, [*heads, "published"], rows)
        _write(folder / COMPARISONS_FILE, _COMPARISON_HEADS, comparisons(claims))
    else:
        _write(folder / FIGURES_FILE, heads, rows)


def figures(runs: Runs, configs: Iterable[TrainingConfig]) -> Iterator[list[object]]:
    """A row for each figure of each run: its hyperparameters, the metric, and its value in the published convention."""
    for config in dict.fromkeys(configs):
        known = published.find(config)
        for run in runs.of(config):
            for metric in FIGURES:
                measured = published.in_published_convention(run.config, metric, run.metrics[metric])
                theirs = [known.metrics.get(metric, "") if known else ""] if published.covers(runs.base) else []
                yield [*run.config.parameters().values(), run.run_id, metric, measured, *theirs]


def comparisons(claims: Sequence[Claim]) -> Iterator[list[object]]:
    """A row for each comparison; differences of accuracies are shares of 1, the others logarithms of ratios."""
    for claim in claims:
        for each in claim.judgements:
            if each.measure is None or each.overall is None:
                continue
            for name, comparison, level, p, verdict, share in (
                ("mean", each.overall, each.level, each.p, each.verdict, each.share),
                *((pair.name, pair.comparison, pair.level, pair.p, pair.verdict, pair.share) for pair in each.pairs),
            ):
                estimate = comparison.estimate
                low, high = estimate.interval(level) or ("", "")
                yield [
                    *(claim.number, each.text, name, each.measure.name),
                    *(estimate.seeds, estimate.mean, low, high, level),
                    *(p, share, verdict.short),
                    *((each.region.low, each.region.high) if each.region else ("", "")),
                ]


def _write(file: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(rows)
