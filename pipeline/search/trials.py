"""Training a study's trials: each becomes a task as soon as it can start, and ends as its run did."""

import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from pipeline.data.datasets import Dataset
from pipeline.display.progress import progress
from pipeline.errors import Interrupted, PipelineError
from pipeline.names import trial_name
from pipeline.output import decoration, notice
from pipeline.search.attributes import train_seconds
from pipeline.search.pruning import Replay
from pipeline.search.study import End, Study, Trial
from pipeline.tracking.lease import Watch
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import EARLY_STOP_TAG, Point, Store, TrackedRun
from pipeline.training.cluster import worker_count
from pipeline.training.executor import run_tasks
from pipeline.training.networks import Settings
from pipeline.training.splits import batches_an_epoch
from pipeline.training.task import Event, EventKind, Outcome, Report, Status, Task, evaluation_split
from pipeline.training.trainer import reuse

if TYPE_CHECKING:
    from pipeline.config import TrainingConfig

_POLL_SECONDS: Final = 2.0
_BUSY_SECONDS: Final = 30.0


def run_trials(study: Study, store: Store, parent: OwnedRun, dataset: Dataset, settings: Settings) -> None:
    """Run trials in this command, possibly beside others, until the study has as many as it shall have.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM; the message says how many trials are finished and how to resume.
        PipelineError: a training failed for a reason that would stop the next one, too.
    """
    log_progress(study, parent)
    unfinished = study.unfinished()
    if not unfinished:
        return
    _say_who_waits(study, settings)
    costs = {trial_name(number): 1 for number in range(max(study.wanted - unfinished, 0), study.wanted)}
    with (
        progress(f"search {study.name}", costs, quiet=settings.quiet) as report,
        ThreadPoolExecutor(1, thread_name_prefix="evaluations") as notes,
    ):
        tasks = TrialTasks(study, store, parent, dataset, settings, report)

        def hear(event: Event) -> None:
            report(event)
            number = tasks.number_of(event.name)
            if event.kind is EventKind.EVALUATED and event.accuracy is not None and number is not None:
                notes.submit(study.note, number, event.epoch, event.accuracy)

        trained = run_tasks(
            tasks,
            workers=settings.workers,
            scheduler=settings.scheduler,
            report=hear,
            worker_timeout=settings.worker_timeout,
        )
        try:
            with closing(trained):
                for outcome in trained:
                    tasks.conclude(outcome)
        except (Interrupted, KeyboardInterrupt) as error:
            notes.shutdown(wait=False, cancel_futures=True)
            text = str(error) if isinstance(error, Interrupted) else f"stopped by {error}"
            raise Interrupted(f"{text}: {study.summary()} Run the same command again to go on.") from error


def log_progress(study: Study, parent: OwnedRun) -> None:
    """Log on the search's run how far its study is, under the names that a grid's run has; one point for each trial."""
    with decoration("A metric of the parent run"):
        ended = [trial for trial in study.trials() if trial.state.is_finished()]
        values = [trial.value for trial in ended if trial.state.name == "COMPLETE" and trial.value is not None]
        metrics: dict[str, float] = {
            "networks_asked": study.wanted,
            "networks_finished": len(ended),
            "seconds": sum(train_seconds(trial) or 0.0 for trial in ended),
        }
        if values:
            metrics["best_validation_accuracy"] = max(values)
        now = time.time_ns() // 1_000_000
        parent.send([Point(key, value, now, len(ended)) for key, value in metrics.items()])


def _say_who_waits(study: Study, settings: Settings) -> None:
    """Tell the user if there are more workers than trials that can run at once."""
    workers = worker_count(settings.workers)
    lag = study.definition.lag
    if workers > lag and not settings.scheduler and not settings.quiet:
        notice(
            f"lag is {lag}, and no more trials than that run at once: {workers - lag} of {workers} workers will wait. "
            "A study with a larger lag keeps more of them busy."
        )


class TrialTasks:
    """An iterator over the tasks of a study's trials; after StopIteration, it may have more when a trial has ended."""

    def __init__(
        self, study: Study, store: Store, parent: OwnedRun, dataset: Dataset, settings: Settings, report: Report
    ) -> None:
        """Iterate over the trials of `study`; the runs of their networks become children of `parent`."""
        self._study, self._store, self._parent = study, store, parent
        self._dataset, self._settings, self._report = dataset, settings, report
        self._trained: dict[TrainingConfig, Trial] = {}
        self._watches: defaultdict[str, Watch] = defaultdict(Watch)
        self._put_off: dict[int, tuple[Trial, float]] = {}
        self._next_look = 0.0

    def __length_hint__(self) -> int:
        """At most this many tasks are left."""
        return self._study.unfinished()

    def __iter__(self) -> Iterator[Task]:
        """This iterator."""
        return self

    def __next__(self) -> Task:
        """Return the next task; wait for other processes only if no trial is being trained here.

        Raises:
            StopIteration: there is no task until a trial that is being trained here has ended, or none at all.
        """
        if self._trained and time.monotonic() < self._next_look:
            raise StopIteration
        while True:
            trial = self._next()
            if trial is not None:
                if (task := self._task(trial)) is not None:
                    return task
            elif self._trained or not self._study.unfinished():
                self._next_look = time.monotonic() + _POLL_SECONDS
                raise StopIteration
            else:
                time.sleep(_POLL_SECONDS)  # other processes train the remaining trials

    def number_of(self, name: str) -> int | None:
        """Return the number of the trial with this name that is being trained here, or None."""
        return next((trial.number for trial in list(self._trained.values()) if trial_name(trial.number) == name), None)

    def _next(self) -> Trial | None:
        """Return a postponed trial that can start now, or else the next trial of the study."""
        for number, (trial, due) in self._put_off.items():
            if trial.config not in self._trained and time.monotonic() >= due:
                del self._put_off[number]
                return trial
        mine = {*self._put_off, *(trial.number for trial in self._trained.values())}
        return self._study.take(self._parent.run_id, mine=mine, is_alive=self._is_alive)

    def _is_alive(self, run_id: str) -> bool:
        run = self._store.find(run_id)
        return run is not None and run.status == Status.RUNNING and not self._watches[run_id].is_free(run.tags)

    def _task(self, trial: Trial) -> Task | None:
        """Make the task of a trial.

        It is None if the store already has the result, or if the same configuration is being trained; then the trial
        waits.
        """
        config = trial.config
        if config in self._trained:
            self._put_off[trial.number] = trial, 0.0
            return None
        task = Task(
            config,
            config.fingerprint(self._dataset.digest),
            self._store,
            self._parent.run_id,
            self._settings.data_dir,
            self._settings.checkpoint_dir,
            name=trial_name(trial.number),
            tags={"study": self._study.name, "trial": str(trial.number), "trial_state": "RUNNING"},
            on_evaluation=trial.pruning,
        )
        if self._is_in_store(trial, task):
            return None
        self._trained[config] = trial
        return task

    def _is_in_store(self, trial: Trial, task: Task) -> bool:
        """Whether the store already has the result of a trial; if so, the trial ends with it.

        A finished run has the evaluations of all epochs. A run that the pruner of another trial stopped has only the
        first ones, so it counts only if this trial's pruner would have stopped it, too.
        """
        if found := reuse(task):
            self._end(trial, self._store.get(str(found.run_id)), reused=True)
            return True
        stopped = f"tags.fingerprint = '{task.fingerprint}' and tags.{EARLY_STOP_TAG} = 'true'"
        for run in list(self._store.search(stopped)):
            if run.status != Status.RUNNING and self._replayed(trial, run).pruned:
                self._end(trial, run, reused=True)
                return True
        return False

    def conclude(self, outcome: Outcome) -> None:
        """End the trial of an outcome, or postpone it while another process trains its network.

        Raises:
            PipelineError: the training failed for a reason that would stop the next one, too.
        """
        trial = self._trained.pop(outcome.config)
        self._next_look = 0.0  # now other trials may be ready
        if outcome.conclusive and outcome.run_id:
            self._end(trial, self._store.get(outcome.run_id), reused=outcome.reused)
        elif outcome.status == Status.FAILED:
            raise PipelineError(f"{self._study.summary()} It cannot go on: {outcome.reason}")
        elif outcome.status == Status.RUNNING:  # another process trains this network
            self._put_off[trial.number] = trial, time.monotonic() + _BUSY_SECONDS
            self._report(_ended(trial, outcome.reason))

    def _end(self, trial: Trial, run: TrackedRun, *, reused: bool) -> None:
        replay = self._replayed(trial, run)
        end, text = _end_of(run, replay)
        link = {"run_id": run.run_id, "run": self._store.link(run.run_id)}
        self._study.finish(trial.number, End(end.state, end.value, end.values, {**link, **(end.attributes or {})}))
        log_progress(self._study, self._parent)
        if run.tags.get("study") == self._study.name and run.tags.get("trial") == str(trial.number):
            self._store.call("set_tag", run.run_id, "trial_state", end.state)
        self._report(_ended(trial, f"{text}{', from a run that the store had' * reused}"))

    def _replayed(self, trial: Trial, run: TrackedRun) -> Replay:
        """Apply the trial's pruner to the recorded evaluations of a run."""
        batches = batches_an_epoch(trial.config, self._dataset)
        points = self._store.history(run.run_id, f"{evaluation_split(trial.config)}/accuracy")
        return trial.pruning.replay((point.step // batches, point.value) for point in points)


def _end_of(run: TrackedRun, replay: Replay) -> tuple[End, str]:
    """Return the end that a run means for its trial, and a text that says so."""
    spent = run.metrics.get("train_seconds")
    attributes: dict[str, Any] = {} if spent is None else {"train_seconds": spent * replay.share}
    if replay.pruned:
        return End("PRUNED", None, replay.values, {**attributes, "reason": replay.pruned}), replay.pruned
    if run.status == Status.FINISHED:
        value = run.metrics["validation_accuracy"]
        return End("COMPLETE", value, replay.values, attributes), f"validation accuracy {value:.2%}"
    reason = run.tags.get("reason", "it failed")
    return End("FAIL", None, replay.values, {**attributes, "reason": reason}), f"failed: {reason}"


def _ended(trial: Trial, text: str) -> Event:
    epochs = trial.config.max_epoch
    return Event(EventKind.ENDED, trial_name(trial.number), epochs, epochs, text=text)
