"""The Optuna study: learning rate and epochs of one network, by validation accuracy, stoppable at any moment.

A study of N trials has N places from the start, which wait to be taken. Whoever takes one, in whatever process, leaves
a lease on it; the trial of a dead process is taken up as it was, with its number, its parameters and its checkpoint.
"""

import json
import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset
from pipeline.display.tables import markdown_table
from pipeline.errors import PipelineError
from pipeline.output import decoration, say
from pipeline.report.published import best_learning_rate
from pipeline.search.space import Space
from pipeline.search.storage import storage_url
from pipeline.search.study import Study
from pipeline.tracking.models import check_name, register
from pipeline.tracking.parents import command_run
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import Store
from pipeline.training.networks import Settings, finished, prepared, run_networks
from pipeline.training.splits import check_batch_size, lineage
from pipeline.training.task import Outcome

_POLL_SECONDS: Final = 2.0


def search(
    base: TrainingConfig,
    space: Space,
    settings: Settings,
    parameters: Mapping[str, str],
    *,
    trials: int,
    name: str | None = None,
    storage: str | None = None,
    sampler_seed: int = 0,
    parent_id: str | None = None,
) -> list[Outcome]:
    """Bring a study to `trials` finished trials; then retrain the best configuration on all images and test it once.

    Args:
        base: the network; its learning rate and epochs are the baseline, which is the first trial.
        space: what to search.
        settings: where and how.
        parameters: of the command, for its run.
        trials: how many finished trials (complete, pruned or diverged) the study shall have in the end.
        name: of the study.
        storage: an Optuna storage URL without a password; by default the one in OPTUNA_STORAGE, or a file here.
        sampler_seed: with the number of a trial, the seed of its draw.
        parent_id: the run to fold the search's run under.

    Returns:
        The outcomes of the best configuration and of the baseline, trained on all training images.

    Raises:
        UsageError: for a study of that name with another space or objective, or with more trials.
        Interrupted: on Ctrl-C or SIGTERM, saying what the study has and how to go on.
    """
    settings = settings.resolved()
    base = replace(base, validation=True)
    check_name(settings.register)
    url = storage_url(storage)
    store = Store.open()
    dataset = prepared(base.dataset, settings)
    check_batch_size(base, dataset)
    name = name or f"{base.dataset} {base.network}"
    study = Study(url, name, base, space, trials, sampler_seed, dataset, settings.checkpoint_dir)
    with command_run(store, f"search {name}", parameters, parent_id=parent_id) as parent:
        parent.tag("study", name)
        parent.tag("space", json.dumps(asdict(space)))
        parent.log_dataset(lineage(dataset, "training", settings.data_dir))
        study.complete(store, parent, settings)
        return _conclude(study, store, parent, dataset, settings)


def _conclude(study: Study, store: Store, parent: OwnedRun, dataset: Dataset, settings: Settings) -> list[Outcome]:
    """Retrain and test the best configuration and the baseline; log tables and plots."""
    import optuna

    complete = study.optuna.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise PipelineError(
            f"No trial came to its end: {study.summary()} Widen the space, or lower the learning rates."
        )
    best = study.optuna.best_trial
    found = replace(study.base, validation=False, **best.params)
    baseline = replace(study.base, validation=False)
    configs = list(dict.fromkeys([found, baseline]))
    outcomes = run_networks(store, parent, configs, dataset, settings, title="best and baseline")
    while any(outcome.status == "RUNNING" for outcome in outcomes):  # another process of this study is at it
        time.sleep(_POLL_SECONDS)
        outcomes = run_networks(store, parent, configs, dataset, settings, title="best and baseline")
    by_config = {outcome.config: outcome for outcome in finished(outcomes)}
    named = {"best of the search": by_config[found], "baseline": by_config[baseline]}
    table = _comparison(study, named)
    parent.log_result(
        {"best_learning_rate": found.learning_rate, "best_max_epoch": found.max_epoch, "best_trial": best.number},
        {
            "best_validation_accuracy": float(best.value or 0.0),
            "best_test_accuracy": by_config[found].metrics["test_accuracy"],
        },
    )
    told = [study.summary().capitalize(), table]
    say("\n\n".join(told))
    if settings.register:
        value = float(best.value or 0.0)
        told.append(register(store, settings.register, by_config[found], "validation_accuracy", value))
        say(f"\n{told[-1]}")
    with decoration("results.md"):
        parent.log_text(table, "results.md")
    with decoration("trials.md"):
        parent.log_text(_trials_table(study), "trials.md")
    with decoration("The description"):
        parent.describe("\n\n".join(told))
    with decoration("study.html"):
        _log_plots(study, parent)
    return outcomes


def _comparison(study: Study, outcomes: Mapping[str, Outcome]) -> str:
    """The best configuration beside the baseline and, where it is theirs, the published best."""
    validation = {
        (trial.params.get("learning_rate"), trial.params.get("max_epoch")): trial.value
        for trial in study.optuna.get_trials(deepcopy=False)
        if trial.value is not None
    }
    rows: list[list[Any]] = []
    for label, outcome in outcomes.items():
        config, metrics = outcome.config, outcome.metrics
        value = validation.get((config.learning_rate, config.max_epoch))
        rows.append(
            [
                label,
                f"{config.learning_rate:.4g}",
                config.max_epoch,
                "-" if value is None else f"{value:.2%}",
                f"{metrics['train_accuracy']:.2%}",
                f"{metrics['test_accuracy']:.2%}",
            ]
        )
    published = best_learning_rate()
    same = replace(
        study.base, validation=False, learning_rate=published.config.learning_rate, max_epoch=published.config.max_epoch
    )
    if same == published.config:
        rows.append(
            [
                "published best",
                f"{published.config.learning_rate:.4g}",
                published.config.max_epoch,
                "-",
                f"{published.figures['train_accuracy']:.2%}",
                f"{published.figures['test_accuracy']:.2%}",
            ]
        )
    heads = ["configuration", "learning rate", "epochs", "validation accuracy", "train accuracy", "test accuracy"]
    return markdown_table(rows, heads)


def _trials_table(study: Study) -> str:
    rows = [
        [
            trial.number,
            trial.state.name.lower(),
            f"{trial.params.get('learning_rate', math.nan):.4g}",
            trial.params.get("max_epoch", "-"),
            max(trial.intermediate_values, default="-"),
            "-" if trial.value is None else f"{trial.value:.2%}",
            trial.user_attrs.get("run_id", "-"),
        ]
        for trial in study.optuna.get_trials(deepcopy=False)
    ]
    return markdown_table(rows, ["trial", "state", "learning rate", "epochs", "reached", "validation accuracy", "run"])


def _log_plots(study: Study, parent: OwnedRun) -> None:
    """Optuna's own plots in one page that needs nothing else."""
    from optuna import visualization

    figures = [
        visualization.plot_optimization_history(study.optuna),
        visualization.plot_slice(study.optuna),
        visualization.plot_contour(study.optuna, params=["learning_rate", "max_epoch"]),
        visualization.plot_intermediate_values(study.optuna),
    ]
    if len(study.optuna.get_trials(deepcopy=False)) > 1:
        with suppress(ValueError, RuntimeError):  # all values are equal: nothing is more important than anything
            figures.append(visualization.plot_param_importances(study.optuna))
    pages = [figure.to_html(full_html=False, include_plotlyjs=number == 0) for number, figure in enumerate(figures)]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "study.html"
        page.write_text(
            f"<!doctype html><meta charset='utf-8'><title>{study.name}</title>{''.join(pages)}", encoding="utf-8"
        )
        parent.log_file(page)
