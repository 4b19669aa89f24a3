"""Tables and sentences about the result of a search, for any space."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import TYPE_CHECKING, Final

from pipeline.config import TrainingConfig
from pipeline.display.tables import markdown_table
from pipeline.report import published
from pipeline.report.statistics import paired
from pipeline.search.attributes import outside, run_of, train_seconds
from pipeline.search.confirmation import Candidate, Tested, differences
from pipeline.search.study import DRAWN, Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_NONE: Final = "-"


def trials(study: Study) -> str:
    """Format every trial: state, parameters, epochs reached and accuracy; trials that the user enqueued are marked."""
    names = list(study.definition.space.values)
    rows = []
    for trial in study.trials():
        config = study.config(trial)
        rows.append(
            [
                trial.number,
                f"{trial.state.name.lower()}{_mark(trial)}",
                *(_value(config, name) for name in names),
                max(trial.intermediate_values, default=_NONE),
                _NONE if trial.value is None else f"{trial.value:.2%}",
                run_of(trial) or _NONE,
            ]
        )
    return markdown_table(rows, ["trial", "state", *names, "reached", "validation accuracy", "run"], texts=2)


def _mark(trial: "FrozenTrial") -> str:
    if DRAWN in trial.user_attrs:
        return ""
    values = ", ".join(f"{name}={value}" for name, value in outside(trial).items())
    return f", enqueued outside the space with {values}" if values else ", enqueued"


def _value(config: TrainingConfig | None, name: str) -> str:
    if config is None:
        return _NONE
    value = getattr(config, name)
    return f"{value:.4g}" if isinstance(value, float) else config.parameters()[name]


def confirmation(study: Study, candidates: Sequence[Candidate]) -> str:
    """Format the confirmed configurations, the best first, and name those that are not significantly worse."""
    names = list(study.definition.space.values)
    seeds = list(candidates[0].confirmed)
    apart = differences(candidates)
    rows = []
    for each, difference in zip(candidates, apart, strict=True):
        behind = _NONE if difference is None else f"{100 * difference.mean:.2f}{_interval(difference.interval)}"
        rows.append(
            [
                each.number,
                *(_value(each.config, name) for name in names),
                f"{each.value:.2%}",
                _mean_and_spread(list(each.confirmed.values())),
                behind,
            ]
        )
    heads = ["trial", *names, "validation accuracy", f"mean of seeds {_listed(seeds)}", "behind the best (points)"]
    table = markdown_table(rows, heads)
    equal = [
        f"trial {each.number}"
        for each, found in zip(candidates, apart, strict=True)
        if found is not None and not found.told_apart
    ]
    if len(candidates) == 1:
        return table
    if not equal:
        return f"{table}\n\nThe best configuration differs significantly from the others."
    return f"{table}\n\nThese seeds do not distinguish from the best: {_listed(equal)}."


def comparison(study: Study, tested: Sequence[Tested]) -> str:
    """Compare the best configuration with the baseline, and with the published best if this is of the same network."""
    names = list(study.definition.space.values)
    best, baseline = tested
    rows = [
        [
            label,
            *(_value(each.config, name) for name in names),
            _mean_and_spread(each.values("train_accuracy")),
            _mean_and_spread(each.values("test_accuracy")),
        ]
        for label, each in (("best of the search", best), ("baseline", baseline))
    ]
    values = best.values("test_accuracy")
    pairs = [mine - theirs for mine, theirs in zip(values, baseline.values("test_accuracy"), strict=True)]
    sentences = [_behind("baseline", pairs)] if best.config != baseline.config else []
    known = published.best_learning_rate()
    if _is_of(best.config, known.config, names):
        theirs = known.metrics["test_accuracy"]
        of_theirs = [f"{known.metrics[metric]:.2%}" for metric in ("train_accuracy", "test_accuracy")]
        rows.append(["published best", *(_value(known.config, name) for name in names), *of_theirs])
        sentences.append(_behind(f"published best, {theirs:.2%}", [value - theirs for value in values]))
    heads = ["configuration", *names, "train accuracy", "test accuracy"]
    return "\n\n".join([markdown_table(rows, heads), " ".join(sentences)]).rstrip()


def _is_of(config: TrainingConfig, known: TrainingConfig, names: Sequence[str]) -> bool:
    """Whether a configuration differs from the published one in nothing but the searched hyperparameters."""
    return replace(config, **{name: getattr(known, name) for name in names}) == known


def _behind(what: str, values: Sequence[float]) -> str:
    estimate = paired(values)
    return f"Test accuracy above that of the {what}: {100 * estimate.mean:.2f} points{_interval(estimate.interval())}."


def spent(study: Study) -> str:
    """Say how much processor time the trials took, and how much pruning saved."""
    from optuna.trial import TrialState

    seconds = saved = 0.0
    for trial in study.trials():
        of_trial = train_seconds(trial) or 0.0
        seconds += of_trial
        config, reached = study.config(trial), max(trial.intermediate_values, default=0)
        if trial.state == TrialState.PRUNED and config is not None and reached:
            saved += of_trial * (config.max_epoch / reached - 1)
    share = f", {saved / (seconds + saved):.0%} of what all epochs would have taken" if saved else ""
    return f"The trials took {seconds:.0f} s of processor time; pruning saved {saved:.0f} s{share}."


def _mean_and_spread(values: Sequence[float]) -> str:
    if not values:
        return _NONE
    spread = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{mean(values):.2%}{spread}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({100 * interval[0]:+.2f} to {100 * interval[1]:+.2f})"


def _listed(items: Sequence[object]) -> str:
    *others, last = map(str, items or [_NONE])
    return f"{', '.join(others)} and {last}" if others else last
