"""All values of the report as CSV files with one value in each row, for other programs to read."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.output import one_line
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
    """Write the metrics of every run to a CSV file, and every comparison behind the claims to another one.

    On a data set that was not published, there are no comparisons and no column of published values.
    """
    rows = list(figures(runs, configs))
    heads = [*runs.base.parameters(), *_FIGURE_HEADS]
    if published.covers(runs.base):
        _write(folder / FIGURES_FILE, [*heads, "published"], rows)
        _write(folder / COMPARISONS_FILE, _COMPARISON_HEADS, comparisons(claims))
    else:
        _write(folder / FIGURES_FILE, heads, rows)


def figures(runs: Runs, configs: Iterable[TrainingConfig]) -> Iterator[list[object]]:
    """Yield a row for each metric of each run: hyperparameters, run, metric, measured value, published value.

    Values are in the published convention (`published.in_published_convention`).
    """
    for config in dict.fromkeys(configs):
        known = published.find(config)
        for run in runs.of(config):
            for metric in FIGURES:
                measured = published.in_published_convention(run.config, metric, run.metrics[metric])
                theirs = [known.metrics.get(metric, "") if known else ""] if published.covers(runs.base) else []
                yield [*run.config.parameters().values(), run.run_id, metric, measured, *theirs]


def comparisons(claims: Sequence[Claim]) -> Iterator[list[object]]:
    """Yield a row for each comparison; differences of accuracies are shares of 1, all others logarithms of ratios."""
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
        writer.writerows([one_line(each) if isinstance(each, str) else each for each in row] for row in rows)
