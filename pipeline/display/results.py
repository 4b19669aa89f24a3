"""The table of networks that were trained side by side: the best first, in markdown and as wide as a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.config import TrainingConfig, format_sizes
from pipeline.names import shortened, varied_settings
from pipeline.training.task import Outcome, Status, accuracy, evaluation_split

BEST: Final = "*"
"""Marks the row of the best network."""
_GAP: Final = "  "


@dataclass(frozen=True)
class _Column:
    header: str
    cells: Sequence[str]
    right: bool = False

    @property
    def width(self) -> int:
        return max(map(len, [self.header, *self.cells]))

    @property
    def rule(self) -> str:
        return "-" * self.width

    def aligned(self, text: str) -> str:
        return text.rjust(self.width) if self.right else text.ljust(self.width)


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The finished ones, the best first, then the others."""
    finished = [outcome for outcome in outcomes if outcome.status == Status.FINISHED]
    others = [outcome for outcome in outcomes if outcome.status != Status.FINISHED]
    return [*sorted(finished, key=accuracy, reverse=True), *others]


def results_markdown(outcomes: Sequence[Outcome]) -> str:
    """A row for each network, with every column, as markdown."""
    from tabulate import tabulate

    columns = _columns(ranked(outcomes))
    align = ["right" if column.right else "left" for column in columns]
    return tabulate(
        {column.header: column.cells for column in columns},
        headers="keys",
        tablefmt="github",
        disable_numparse=True,
        colalign=align if outcomes else None,
    )


def best_results(outcomes: Sequence[Outcome], characters: int) -> str:
    """The markdown where it fits into so many characters, else that of the best, and where the others are."""
    whole = results_markdown(outcomes)
    if len(whole) <= characters:
        return whole
    row = max(len(line) for line in whole.splitlines())
    count = max(characters // (row + 1) - 4, 1)  # the heads take two lines, the sentence below two more
    best = results_markdown(ranked(outcomes)[:count])
    return f"{best}\n\nThese are the best {count} of {len(outcomes)}; `results.md` has all."


def results_text(outcomes: Sequence[Outcome], width: int) -> str:
    """A row for each network, with as many columns as have room in `width` characters."""
    columns = _columns(ranked(outcomes))
    while len(columns) > 1 and sum(column.width + len(_GAP) for column in columns) - len(_GAP) > width:
        columns = columns[:-1]
    lines = [[column.aligned(column.header) for column in columns], [column.rule for column in columns]]
    lines += [list(row) for row in zip(*(map(column.aligned, column.cells) for column in columns), strict=True)]
    return "\n".join(_GAP.join(line).rstrip() for line in lines)


def _columns(outcomes: Sequence[Outcome]) -> list[_Column]:
    """All columns, those first that matter most; a hyperparameter that all share has none."""
    configs = [outcome.config for outcome in outcomes]
    split = evaluation_split(configs[0]) if configs else "test"
    best = [BEST if place == 0 and each.status == Status.FINISHED else "" for place, each in enumerate(outcomes)]
    return [
        _Column("", best),
        *_network(configs),
        *(
            _Column(name, [shortened(getattr(config, name)) for config in configs], right=True)
            for name in varied_settings(configs)
        ),
        _Column("accuracy", [_accuracy(outcome) for outcome in outcomes], right=True),
        _Column(f"{split} loss", _metric(outcomes, f"{split}_loss", ".4f"), right=True),
        _Column("seconds", _metric(outcomes, "train_seconds", ".1f"), right=True),
        _Column("train accuracy", _metric(outcomes, "train_accuracy", ".2%"), right=True),
        _Column("train loss", _metric(outcomes, "train_loss", ".4f"), right=True),
        _Column("run", ["reused" if outcome.reused else outcome.status.lower() for outcome in outcomes]),
    ]


def shared_network(configs: Sequence[TrainingConfig]) -> list[str]:
    """What the networks have alike of hidden layers, activation and loss: the table has no column for it."""
    shown = [column.header for column in _network(configs)]
    return [f"{column.header} {column.cells[0]}" for column in _described(configs) if column.header not in shown]


def _network(configs: Sequence[TrainingConfig]) -> list[_Column]:
    """Hidden layers, activation and loss; where there are several networks, those in which they differ."""
    columns = _described(configs)
    return [column for column in columns if len(set(column.cells)) > 1] if len(set(configs)) > 1 else columns


def _described(configs: Sequence[TrainingConfig]) -> list[_Column]:
    return [
        _Column("layers", [format_sizes(config.hidden_sizes) for config in configs]),
        _Column("activation", [config.activation for config in configs]),
        _Column("loss", [config.loss for config in configs]),
    ]


def _accuracy(outcome: Outcome) -> str:
    """Of the images that the network was evaluated on; for one that is not finished, what it is instead."""
    return f"{accuracy(outcome):.2%}" if outcome.status == Status.FINISHED else outcome.status.lower()


def _metric(outcomes: Sequence[Outcome], key: str, form: str) -> list[str]:
    return [format(outcome.metrics[key], form) if key in outcome.metrics else "-" for outcome in outcomes]
