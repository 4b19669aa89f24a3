"""The table of a command's networks, the best first: in markdown, and as text that fits a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.config import TrainingConfig, format_sizes
from pipeline.names import shortened, varied_settings
from pipeline.training.task import Outcome, Status, accuracy, evaluation_split

BEST: Final = "*"
"""The mark in the row of the best network."""
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
    """Sort outcomes: the finished ones by accuracy, the best first, then the others."""
    finished = [outcome for outcome in outcomes if outcome.status == Status.FINISHED]
    others = [outcome for outcome in outcomes if outcome.status != Status.FINISHED]
    return [*sorted(finished, key=accuracy, reverse=True), *others]


def results_markdown(outcomes: Sequence[Outcome]) -> str:
    """Format a row for each network, with every column, as markdown."""
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
    """Format all networks as markdown; if that has too many characters, only the best, and say where the others are."""
    table = results_markdown(outcomes)
    if len(table) <= characters:
        return table
    row = max(len(line) for line in table.splitlines())
    count = max(characters // (row + 1) - 4, 1)  # the headers take two lines, the sentence below two more
    best = results_markdown(ranked(outcomes)[:count])
    return f"{best}\n\nThese are the best {count} of {len(outcomes)}; `results.md` has all."


def results_text(outcomes: Sequence[Outcome], width: int) -> str:
    """Format a row for each network as text, with as many columns as fit into `width` characters."""
    columns = _columns(ranked(outcomes))
    while len(columns) > 1 and sum(column.width + len(_GAP) for column in columns) - len(_GAP) > width:
        columns = columns[:-1]
    lines = [[column.aligned(column.header) for column in columns], [column.rule for column in columns]]
    lines += [list(row) for row in zip(*(map(column.aligned, column.cells) for column in columns), strict=True)]
    return "\n".join(_GAP.join(line).rstrip() for line in lines)


def _columns(outcomes: Sequence[Outcome]) -> list[_Column]:
    """Make all columns, the most important first; a hyperparameter that all networks share has no column."""
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
    """Name hidden layers, activation and loss where all networks share them, because the table omits these columns."""
    shown = [column.header for column in _network(configs)]
    return [f"{column.header} {column.cells[0]}" for column in _described(configs) if column.header not in shown]


def _network(configs: Sequence[TrainingConfig]) -> list[_Column]:
    """Make the columns for hidden layers, activation and loss; of several networks, only those that differ."""
    columns = _described(configs)
    return [column for column in columns if len(set(column.cells)) > 1] if len(set(configs)) > 1 else columns


def _described(configs: Sequence[TrainingConfig]) -> list[_Column]:
    return [
        _Column("layers", [format_sizes(config.hidden_sizes) for config in configs]),
        _Column("activation", [config.activation for config in configs]),
        _Column("loss", [config.loss for config in configs]),
    ]


def _accuracy(outcome: Outcome) -> str:
    """Format the accuracy on the evaluation images, or the status of a network that is not finished."""
    return f"{accuracy(outcome):.2%}" if outcome.status == Status.FINISHED else outcome.status.lower()


def _metric(outcomes: Sequence[Outcome], key: str, form: str) -> list[str]:
    return [format(outcome.metrics[key], form) if key in outcome.metrics else "-" for outcome in outcomes]
