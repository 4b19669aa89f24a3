"""The Optuna study: learning rate and epochs of one network, by validation accuracy, stoppable at any moment.

A study of N trials has N places from the start, which wait to be taken. Whoever takes one, in whatever process, leaves
a lease on it; the trial of a dead process is taken up as it was, with its number, its parameters and its checkpoint.
"""

import json
import math
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from model.randomness import rng
from pipeline.commands import Settings, finished, prepared, run_networks
from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset
from pipeline.display.progress import progress
from pipeline.display.tables import markdown_table
from pipeline.errors import Interrupted, PipelineError, UsageError
from pipeline.report.published import best_learning_rate
from pipeline.tracking.registry import check_name, register
from pipeline.tracking.store import RENEWAL_SECONDS, OwnedRun, Store, lease_is_alive, new_lease
from pipeline.training.executor import run_tasks
from pipeline.training.trainer import Event, Outcome, Stop, Task, check_batch_size, lineage, reuse

if TYPE_CHECKING:
    import optuna

DEFAULT_STORAGE: Final = "sqlite:///optuna.db"
_UNCLAIMED_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Space:
    """What is searched: the learning rate log-uniformly, the epochs in steps, both ends included."""

    learning_rate: tuple[float, float] = (0.003, 0.3)
    max_epoch: tuple[int, int] = (50, 400)
    epoch_step: int = 10

    def __post_init__(self) -> None:
        """Refuse what is no range.

        Raises:
            UsageError: naming the range and what it has to be.
        """
        for name, (low, high) in (("learning_rate", self.learning_rate), ("max_epoch", self.max_epoch)):
            if not 0 < low < high:
                raise UsageError(
                    f"{name} is searched from {low} to {high}; the lower end has to be above 0 and below the upper."
                )
        low, high = self.max_epoch
        if self.epoch_step < 1 or (high - low) % self.epoch_step:
            raise UsageError(
                f"epoch_step is {self.epoch_step}; it has to divide {high} - {low}, the range of max_epoch."
            )

    def holds(self, config: TrainingConfig) -> bool:
        """Whether a configuration is one of those searched."""
        low, high = self.max_epoch
        return (
            self.learning_rate[0] <= config.learning_rate <= self.learning_rate[1]
            and low <= config.max_epoch <= high
            and (config.max_epoch - low) % self.epoch_step == 0
        )


@dataclass(frozen=True)
class TrialWatch:
    """Tells Optuna of a trial's evaluations, from the process that trains it, and stops it where it is no good."""

    storage: str
    study: str
    trial_id: int
    last_epoch: int
    may_prune: bool

    def __call__(self, epoch: int, accuracy: float) -> None:
        """Report an evaluation.

        Raises:
            Stop: if the trial is to be pruned.
        """
        import optuna

        trial = optuna.trial.Trial(_study(self.storage, self.study), self.trial_id)
        if epoch not in trial.storage.get_trial(self.trial_id).intermediate_values:
            trial.report(accuracy, epoch)
        if self.may_prune and epoch < self.last_epoch and trial.should_prune():
            raise Stop(
                f"pruned after epoch {epoch}: validation accuracy {accuracy:.2%} is below the median of the others"
            )


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
    within: str | None = None,
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
        within: the run to fold the search's run under.

    Returns:
        The outcomes of the best configuration and of the baseline, trained on all training images.

    Raises:
        UsageError: for a study of that name with another space or objective, or with more trials.
        Interrupted: on Ctrl-C or SIGTERM, saying what the study has and how to go on.
    """
    settings = settings.resolved()
    base = replace(base, validation=True)
    check_name(settings.register)
    url = _storage_url(storage)
    store = Store.open()
    dataset = prepared(base.dataset, settings)
    check_batch_size(base, dataset)
    name = name or f"{base.dataset} {base.activation}-{base.loss}-{base.hidden_layers}h"
    study = _Study(url, name, base, space, trials, sampler_seed, dataset, settings.checkpoint_dir)
    with store.parent(f"search {name}", parameters, within=within) as parent:
        parent.tag("study", name)
        parent.tag("space", json.dumps(asdict(space)))
        parent.log_dataset(lineage(dataset, "training", settings.data_dir))
        study.complete(store, parent, settings)
        return _conclude(study, store, parent, dataset, settings)


class _Study:
    """The places of a study, and who is in them."""

    def __init__(
        self,
        url: str,
        name: str,
        base: TrainingConfig,
        space: Space,
        trials: int,
        seed: int,
        dataset: Dataset,
        lock_dir: Path,
    ) -> None:
        self.url, self.name, self.base, self.space, self.trials, self.seed = url, name, base, space, trials, seed
        self.dataset = dataset
        self.lock = lock_dir / "study.lock"
        self.mine: dict[TrainingConfig, int] = {}
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        self.optuna = self._opened()

    def _opened(self) -> "optuna.Study":
        import optuna
        from filelock import FileLock
        from sqlalchemy.exc import SQLAlchemyError

        definition = self._definition()
        try:
            with FileLock(self.lock):
                storage = _storage(self.url)
                study = optuna.create_study(
                    study_name=self.name, storage=storage, direction="maximize", load_if_exists=True
                )
                known = study.user_attrs.get("definition")
                places = len(study.get_trials(deepcopy=False))
                self._check(known, definition, places)
                if known is None:
                    study.set_user_attr("definition", definition)
                for number in range(places, self.trials):
                    first = self.base.learning_rate, self.base.max_epoch
                    baseline = number == 0 and self.space.holds(self.base)
                    study.enqueue_trial(
                        dict(zip(("learning_rate", "max_epoch"), first, strict=True)) if baseline else {}
                    )
        except (SQLAlchemyError, ImportError, optuna.exceptions.StorageInternalError) as error:
            raise PipelineError(
                f"The Optuna storage {_hidden(self.url)} cannot be used ({type(error).__name__}). Set "
                "OPTUNA_STORAGE to one that can, such as sqlite:///optuna.db."
            ) from error
        return _study(self.url, self.name)

    def _definition(self) -> dict[str, Any]:
        """All that decides what a trial is, as JSON gives it back."""
        network = {key: value for key, value in asdict(self.base).items() if key not in {"learning_rate", "max_epoch"}}
        text = json.dumps({**network, "data": self.dataset.digest, **asdict(self.space), "sampler_seed": self.seed})
        definition: dict[str, Any] = json.loads(text)
        return definition

    def _check(self, known: dict[str, Any] | None, definition: dict[str, Any], places: int) -> None:
        if known is not None and known != definition:
            differs = "; ".join(
                f"{key} is {known.get(key)!r} there and {value!r} here"
                for key, value in definition.items()
                if known.get(key) != value
            )
            raise UsageError(f"The study {self.name!r} searches something else: {differs}. Choose another study name.")
        if places > self.trials:
            raise UsageError(
                f"trials is {self.trials}; the study {self.name!r} has {places} already, so it has to be at least "
                "that, or the study another name."
            )

    def complete(self, store: Store, parent: OwnedRun, settings: Settings) -> None:
        """Run trials, here and beside other processes, until every place is finished."""
        while self._unfinished():
            costs = {f"trial {trial.number}": 1 for trial in self._unfinished()}
            with progress(f"search {self.name}", costs, quiet=settings.quiet) as report, self._renewed():
                tasks = self._tasks(store, parent, settings)
                trained = run_tasks(tasks, workers=settings.workers, scheduler=settings.scheduler, report=report)
                try:
                    for outcome in trained:
                        report(_ended(outcome))
                        self._tell(outcome, store)
                except Interrupted as error:
                    raise Interrupted(f"{error}: {self.standing()} Run the same command again to go on.") from error
                finally:
                    self._release()
            if self._unfinished():
                time.sleep(_POLL_SECONDS)  # other processes are at work on what is left

    def _unfinished(self) -> list["optuna.trial.FrozenTrial"]:
        trials = self.optuna.get_trials(deepcopy=False)
        return [trial for trial in trials if not trial.state.is_finished()]

    def standing(self) -> str:
        """How far the study is, in a sentence."""
        states = [trial.state.name.lower() for trial in self.optuna.get_trials(deepcopy=False)]
        finished = {state: states.count(state) for state in ("complete", "pruned", "fail")}
        told = ", ".join(f"{count} {state}" for state, count in finished.items() if count)
        return (
            f"the study {self.name!r} has {sum(finished.values())} of {len(states)} trials finished ({told or 'none'})."
        )

    def _tasks(self, store: Store, parent: OwnedRun, settings: Settings) -> Iterator[Task]:
        """A task for each place that can be taken, when there is a worker for it."""
        while (trial := self._take()) is not None:
            config = self._configuration(trial)
            self.mine[config] = trial._trial_id  # noqa: SLF001 - Optuna has no public name for it
            fingerprint = config.fingerprint(self.dataset.digest)
            task = Task(
                config,
                fingerprint,
                store,
                parent.run_id,
                settings.data_dir,
                settings.checkpoint_dir,
                tags={"study": self.name, "trial": str(trial.number), "trial_state": "RUNNING"},
                watch=TrialWatch(self.url, self.name, trial._trial_id, config.max_epoch, trial.number > 0),  # noqa: SLF001
            )
            if found := reuse(task):
                self._tell(found, store)
                continue
            yield task

    def _take(self) -> "optuna.trial.Trial | None":
        """The trial of a dead process, or one that waits; with this process's lease on it."""
        import optuna
        from filelock import FileLock

        with FileLock(self.lock):
            states = (optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING)
            open_trials = self.optuna.get_trials(deepcopy=False, states=states)
            for frozen in open_trials:
                if frozen._trial_id not in self.mine.values() and _left_behind(frozen):  # noqa: SLF001
                    trial = optuna.trial.Trial(self.optuna, frozen._trial_id)  # noqa: SLF001
                    break
            else:
                if not any(trial.state == optuna.trial.TrialState.WAITING for trial in open_trials):
                    return None
                trial = self.optuna.ask()
            trial.set_user_attr("lease", new_lease())
            return trial

    def _configuration(self, trial: "optuna.trial.Trial") -> TrainingConfig:
        """Draw the trial's parameters, or read those it has: the draw depends on seed, number and the trials before."""
        import optuna

        seed = int(rng(self.seed, "sampler", trial.number).integers(2**31))
        self.optuna.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        learning_rate = trial.suggest_float("learning_rate", *self.space.learning_rate, log=True)
        max_epoch = trial.suggest_int("max_epoch", *self.space.max_epoch, step=self.space.epoch_step)
        return replace(self.base, learning_rate=learning_rate, max_epoch=max_epoch)

    def _tell(self, outcome: Outcome, store: Store) -> None:
        """Give the trial its end, if its training has come to one.

        Raises:
            PipelineError: if its training cannot go on, for a reason that the next one would have too.
        """
        import optuna

        if not outcome.decided:
            if outcome.status == "FAILED":
                raise PipelineError(f"{self.standing().capitalize()} It cannot go on: {outcome.reason}")
            return
        trial = optuna.trial.Trial(self.optuna, self.mine.pop(outcome.config))
        trial.set_user_attr("run_id", outcome.run_id)
        if outcome.status == "FINISHED":
            told = self.optuna.tell(trial, outcome.metrics["validation_accuracy"])
        elif outcome.status == "KILLED":
            told = self.optuna.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            trial.set_user_attr("reason", outcome.reason)
            told = self.optuna.tell(trial, state=optuna.trial.TrialState.FAIL)
        if outcome.run_id:
            store.call("set_tag", outcome.run_id, "trial_state", told.state.name)

    @contextmanager
    def _renewed(self) -> Iterator[None]:
        """Renew the leases on this process's trials, as other machines know nothing else of it."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(RENEWAL_SECONDS):
                with suppress(Exception):  # an outage: the next renewal may get through
                    for trial_id in list(self.mine.values()):
                        self._lease(trial_id, new_lease())

        threading.Thread(target=renew, daemon=True, name="trial leases").start()
        try:
            yield
        finally:
            done.set()

    def _lease(self, trial_id: int, lease: str) -> None:
        self.optuna._storage.set_trial_user_attr(trial_id, "lease", lease)  # noqa: SLF001 - Optuna has no public way

    def _release(self) -> None:
        """Give up what this process did not bring to an end, so that any other may take it at once."""
        for trial_id in self.mine.values():
            self._lease(trial_id, "{}")
        self.mine.clear()


def _left_behind(trial: "optuna.trial.FrozenTrial") -> bool:
    """Whether a RUNNING trial is nobody's: its lease is dead, or it never got one."""
    import optuna

    if trial.state != optuna.trial.TrialState.RUNNING:
        return False
    lease = trial.user_attrs.get("lease")
    if lease is not None:
        return not lease_is_alive(json.loads(lease))
    age = (datetime.now() - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0  # noqa: DTZ005 - as Optuna's
    return age > _UNCLAIMED_SECONDS


def _ended(outcome: Outcome) -> Event:
    config = outcome.config
    if outcome.status == "FINISHED":
        text = f"validation accuracy {outcome.metrics['validation_accuracy']:.2%}"
    else:
        text = f"{outcome.status.lower()}: {outcome.reason}"
    return Event("ended", config.name, config.max_epoch, config.max_epoch, text=text)


def _conclude(study: _Study, store: Store, parent: OwnedRun, dataset: Dataset, settings: Settings) -> list[Outcome]:
    """Retrain and test the best configuration and the baseline; log tables and plots."""
    import optuna

    complete = study.optuna.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise PipelineError(
            f"No trial came to its end: {study.standing()} Widen the space, or lower the learning rates."
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
    parent.log_text(table, "results.md")
    parent.log_text(_trials_table(study), "trials.md")
    told = [study.standing().capitalize(), table]
    if settings.register:
        value = float(best.value or 0.0)
        told.append(register(store, settings.register, by_config[found], "validation_accuracy", value))
    parent.describe("\n\n".join(told))
    _log_plots(study, parent)
    print("\n\n".join(told))
    return outcomes


def _comparison(study: _Study, outcomes: Mapping[str, Outcome]) -> str:
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


def _trials_table(study: _Study) -> str:
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


def _log_plots(study: _Study, parent: OwnedRun) -> None:
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
        page.write_text(f"<!doctype html><meta charset='utf-8'><title>{study.name}</title>{''.join(pages)}")
        parent.log_file(page)


def _storage_url(given: str | None) -> str:
    """The URL of the storage; a file's path in it made absolute, for processes with other working folders.

    Raises:
        UsageError: for a password in a parameter.
    """
    if given and urlsplit(given).password:
        raise UsageError(
            f"storage is {_hidden(given)!r}, with a password, which MLflow would record; "
            "set it as OPTUNA_STORAGE instead."
        )
    url = given or os.environ.get("OPTUNA_STORAGE") or DEFAULT_STORAGE
    prefix = "sqlite:///"
    return f"{prefix}{Path(url.removeprefix(prefix)).resolve()}" if url.startswith(prefix) else url


def _hidden(url: str) -> str:
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url


@cache
def _storage(url: str) -> "optuna.storages.BaseStorage":
    import optuna

    if "PIPELINE_VERBOSE" not in os.environ:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    return optuna.storages.RDBStorage(url, engine_kwargs=wait)


@cache
def _study(url: str, name: str) -> "optuna.Study":
    """This process's view of a study; its pruner watches the validation accuracy at equal epochs."""
    import optuna

    storage = _storage(url)
    low = storage.get_study_user_attrs(storage.get_study_id_from_name(name))["definition"]["max_epoch"][0]
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=low // 2)
    return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
