"""The search command: it runs a study, confirms the best trials with new seeds, tests the winner, and reports."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset
from pipeline.errors import UsageError
from pipeline.output import decoration, say
from pipeline.search import tables
from pipeline.search.analysis import pictures
from pipeline.search.confirmation import Candidate, Tested, confirm, test
from pipeline.search.space import Space
from pipeline.search.storage import Storage, storage_url
from pipeline.search.study import Definition, Study
from pipeline.search.trials import run_trials
from pipeline.tracking.artifacts import check_artifacts
from pipeline.tracking.models import check_name, register
from pipeline.tracking.parents import command_run
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import BASELINE_RUN_TAG, BEST_RUN_TAG, Store
from pipeline.training.networks import Settings, prepared, run_networks
from pipeline.training.splits import check_batch_size, lineage
from pipeline.training.task import Outcome, Status

_POLL_SECONDS: Final = 2.0
ANALYSIS: Final = "analysis"
"""The folder of a search's pictures among the artifacts of its run."""


@dataclass(frozen=True)
class Plan:
    """The extent of a search.

    Attributes:
        trials: the number of finished trials (complete, pruned or diverged) that the study shall have in the end.
        study: the study's name; by default, that of the data set and the network.
        storage: an Optuna storage URL without a password; by default, OPTUNA_STORAGE or a file in the working folder.
        lag: trial n is drawn from, and pruned by, trials 0 to n - lag, so that `lag` trials can run at once.
        sampler_seed: the seed of the study's draws.
        confirm: how many of the best configurations are trained with new seeds.
        seeds: the best configuration and the baseline are retrained and tested with each of these seeds.
    """

    trials: int
    study: str | None = None
    storage: str | None = None
    lag: int = 4
    sampler_seed: int = 0
    confirm: int = 3
    seeds: Sequence[int] = (0,)

    def __post_init__(self) -> None:
        """Refuse a test without seeds."""
        if not self.seeds:
            raise UsageError("seeds is empty; the best configuration is tested with each of them, so name one.")


def search(
    base: TrainingConfig,
    space: Space,
    plan: Plan,
    settings: Settings,
    parameters: Mapping[str, str],
    *,
    parent_id: str | None = None,
) -> list[Outcome]:
    """Run trials until the study has enough; confirm the best ones, retrain the winner on all images and test it.

    Args:
        base: the network; its own values of the searched hyperparameters are the baseline, which is the first trial.
        space: the searched hyperparameters.
        plan: the extent of the search.
        settings: where and how to train.
        parameters: the command's parameters, for its run.
        parent_id: the id of the parent run, or None.

    Returns:
        The outcomes of the best configuration and of the baseline, trained on all training images.

    Raises:
        UsageError: the study of this name has another definition.
        Interrupted: on Ctrl-C or SIGTERM; the message says how many trials are finished and how to resume.
    """
    settings = settings.resolved()
    base = replace(base, validation=True)
    check_name(settings.register)
    url = storage_url(plan.storage)
    store = Store.open()
    dataset = prepared(base.dataset, settings)
    for config in space.extremes(base, "batch_size"):
        check_batch_size(config, dataset)
    definition = Definition(base, space, dataset.digest, plan.lag, plan.sampler_seed)
    name = plan.study or f"{base.dataset} {base.network}"
    study = Study(Storage.open(url), name, definition, trials=plan.trials, lock_dir=settings.checkpoint_dir)
    with command_run(store, f"search {name}", parameters, parent_id=parent_id) as parent:
        parent.tag("study", name)
        parent.tag("space", json.dumps({name: str(values) for name, values in space.values.items()}))
        check_artifacts(store, parent.run_id)
        parent.log_dataset(lineage(dataset, "training", settings.data_dir))
        run_trials(study, store, parent, dataset, settings)
        return _conclude(study, plan, store, parent, dataset, settings)


def _conclude(
    study: Study, plan: Plan, store: Store, parent: OwnedRun, dataset: Dataset, settings: Settings
) -> list[Outcome]:
    """Confirm the best configurations, test the winner and the baseline, and log tables and pictures."""

    def train(title: str, configs: Sequence[TrainingConfig]) -> list[Outcome]:
        outcomes = run_networks(store, parent, configs, dataset, settings, title=title)
        silent = replace(settings, quiet=True)  # the first call has already said what is waited for
        while any(outcome.status == Status.RUNNING for outcome in outcomes):  # another process trains it
            time.sleep(_POLL_SECONDS)
            outcomes = run_networks(store, parent, configs, dataset, silent, title=title)
        return outcomes

    candidates = confirm(study, plan.confirm, train)
    best = candidates[0]
    tested = test(best.config, study.definition.base, plan.seeds, train)
    parent.log_result(_parameters(study, best), _metrics(best, tested[0]), step=len(study.trials()) + 1)
    baseline = tested[1].outcomes[plan.seeds[0]]
    for tag, run_id in ((BEST_RUN_TAG, best.run_id), (BASELINE_RUN_TAG, str(baseline.run_id))):
        parent.tag(tag, run_id)
    sections = [f"{study.summary()} {tables.spent(study)}"]
    if plan.confirm:
        sections.append(tables.confirmation(study, candidates))
    sections.append(tables.comparison(study, tested))
    say("\n\n".join(sections))
    outcomes = list({outcome.run_id: outcome for each in tested for outcome in each.outcomes.values()}.values())
    if settings.register:
        sections.append(register(store, settings.register, outcomes[0], "validation_accuracy", best.value))
        say(f"\n{sections[-1]}")
    texts = {"results.md": tables.comparison(study, tested), "trials.md": tables.trials(study)}
    if plan.confirm:
        texts["confirmation.md"] = tables.confirmation(study, candidates)
    for path, text in texts.items():
        with decoration(path):
            parent.log_text(text, path)
    with decoration("The description"):
        parent.describe("\n\n".join(sections))
    _log_pictures(study, parent)
    return outcomes


def _parameters(study: Study, best: Candidate) -> dict[str, str]:
    found = best.config.parameters()
    return {"best_trial": str(best.number), **{f"best_{name}": found[name] for name in study.definition.space.values}}


def _metrics(best: Candidate, tested: Tested) -> dict[str, float]:
    confirmed = {"best_confirmed_accuracy": mean(best.confirmed.values())} if best.confirmed else {}
    return {
        "best_validation_accuracy": best.value,
        **confirmed,
        "best_test_accuracy": mean(tested.values("test_accuracy")),
    }


def _log_pictures(study: Study, parent: OwnedRun) -> None:
    """Store the pictures of the study; if one cannot be drawn, this is a warning, because no result depends on it."""
    for name, draw in pictures(study):
        with decoration(f"{ANALYSIS}/{name}.png"), tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{name}.png")
            draw().savefig(file, bbox_inches="tight")  # otherwise Optuna's labels are cut off
            parent.log_file(file, ANALYSIS)
