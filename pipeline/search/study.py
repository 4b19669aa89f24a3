"""The study: its trials handed out to processes, ended, and resumed.

A study of N trials has N queued trials from the start. A process that takes one, on whatever machine, leaves a lease on
it; the trial of a dead process is taken up as it was, with its number, its parameters and its checkpoint.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from model.randomness import rng
from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset
from pipeline.display.progress import progress
from pipeline.errors import Interrupted, PipelineError, UsageError
from pipeline.search.space import Space
from pipeline.search.storage import load_study, open_storage
from pipeline.tracking.connection import without_password
from pipeline.tracking.lease import RENEWAL_SECONDS, lease_is_alive, new_lease
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import Store
from pipeline.training.executor import run_tasks
from pipeline.training.networks import Settings
from pipeline.training.task import Event, EventKind, Outcome, Stop, Task
from pipeline.training.trainer import reuse

if TYPE_CHECKING:
    import optuna

_UNCLAIMED_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 2.0


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

        trial = optuna.trial.Trial(load_study(self.storage, self.study), self.trial_id)
        if epoch not in trial.storage.get_trial(self.trial_id).intermediate_values:
            trial.report(accuracy, epoch)
        if self.may_prune and epoch < self.last_epoch and trial.should_prune():
            raise Stop(
                f"pruned after epoch {epoch}: validation accuracy {accuracy:.2%} is below the median of the others"
            )


class Study:
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
        """Create the study, or load it.

        Raises:
            UsageError: if the study of that name has another definition, or more trials.
            PipelineError: if the storage cannot be used.
        """
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
                storage = open_storage(self.url)
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
                f"The Optuna storage {without_password(self.url)} cannot be used ({type(error).__name__}). Set "
                "OPTUNA_STORAGE to one that can, such as sqlite:///optuna.db."
            ) from error
        return load_study(self.url, self.name)

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
                trained = run_tasks(
                    tasks,
                    workers=settings.workers,
                    scheduler=settings.scheduler,
                    worker_timeout=settings.worker_timeout,
                    report=report,
                )
                try:
                    for outcome in trained:
                        report(_ended(outcome))
                        self._tell(outcome, store)
                except Interrupted as error:
                    raise Interrupted(f"{error}: {self.summary()} Run the same command again to go on.") from error
                finally:
                    self._release()
            if self._unfinished():
                time.sleep(_POLL_SECONDS)  # other processes are at work on what is left

    def _unfinished(self) -> list["optuna.trial.FrozenTrial"]:
        trials = self.optuna.get_trials(deepcopy=False)
        return [trial for trial in trials if not trial.state.is_finished()]

    def summary(self) -> str:
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
                on_evaluation=TrialWatch(self.url, self.name, trial._trial_id, config.max_epoch, trial.number > 0),  # noqa: SLF001
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

        if not outcome.conclusive:
            if outcome.status == "FAILED":
                raise PipelineError(f"{self.summary().capitalize()} It cannot go on: {outcome.reason}")
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
    return Event(EventKind.ENDED, config.name, config.max_epoch, config.max_epoch, text=text)
