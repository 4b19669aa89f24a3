"""Many networks under one parent run: finished networks are reused, the others are trained."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import TrainingConfig
from pipeline.data import datasets
from pipeline.data.datasets import Dataset
from pipeline.display.progress import progress
from pipeline.errors import Interrupted, PipelineError
from pipeline.names import network_names
from pipeline.output import decoration
from pipeline.tracking.artifacts import check_artifacts
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import Store
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.estimate import Estimate
from pipeline.training.executor import run_tasks
from pipeline.training.signals import stop_on_signal
from pipeline.training.splits import lineage
from pipeline.training.task import Event, EventKind, Outcome, Report, Status, Task, accuracy
from pipeline.training.trainer import reuse, train

if TYPE_CHECKING:
    from pipeline.training.cluster import Ready


@dataclass(frozen=True)
class Settings:
    """Where a command reads and writes, and how it works; no setting changes a result."""

    data_dir: Path = Path("data")
    source: Path | None = None
    checkpoint_dir: Path = Path("checkpoints")
    workers: int | None = None
    scheduler: str | None = None
    worker_timeout: float | None = None
    force: bool = False
    dry_run: bool = False
    quiet: bool = False
    register: str | None = None

    def resolved(self) -> "Settings":
        """Copy the settings with absolute folders, because worker processes may run in other folders."""
        return replace(self, data_dir=self.data_dir.resolve(), checkpoint_dir=self.checkpoint_dir.resolve())


def prepared(name: str, settings: Settings) -> Dataset:
    """Open a data set; prepare it first if it is not in the data folder."""
    return datasets.prepare(name, data_dir=settings.data_dir, source=settings.source, quiet=settings.quiet)


def run_networks(
    store: Store,
    parent: OwnedRun,
    configs: Sequence[TrainingConfig],
    dataset: Dataset,
    settings: Settings,
    *,
    title: str,
    alone: bool = False,
    starting: "Ready | None" = None,
    on_outcomes: Callable[[Sequence[Outcome]], None] = lambda _outcomes: None,
) -> list[Outcome]:
    """Train the networks that are not finished yet; give the outcomes of all, in the order of their configurations.

    Args:
        store: the store of the runs.
        parent: the run that becomes the parent of the networks' runs.
        configs: the networks' configurations.
        dataset: the data set of all networks.
        settings: where and how to train.
        title: the title of the progress display.
        alone: train in this process, one network after the other.
        starting: workers that `cluster.local_workers` has begun to start.
        on_outcomes: called once with the outcomes of all reused networks, then with each further outcome.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM; the message says how many networks are finished and how to resume.
    """
    settings = settings.resolved()
    check_artifacts(store, parent.run_id)
    _remove_stale_checkpoints(store, settings.checkpoint_dir)
    parent.log_dataset(lineage(dataset, "training", settings.data_dir))
    outcomes: dict[TrainingConfig, Outcome] = {}
    names = network_names(configs)
    tasks = []
    for config in configs:
        fingerprint = config.fingerprint(dataset.digest)
        task = Task(
            config,
            fingerprint,
            store,
            parent.run_id,
            settings.data_dir,
            settings.checkpoint_dir,
            name=names[config],
            force=settings.force,
        )
        if found := reuse(task):
            outcomes[config] = found
        else:
            tasks.append(task)

    def log_run_ids() -> None:
        with decoration("networks.json"):
            parent.log_networks({names[each.config]: each.run_id for each in outcomes.values() if each.run_id})

    on_outcomes(list(outcomes.values()))
    if tasks:
        estimate = Estimate.from_store(store) if len(tasks) > 1 else Estimate()
        tasks.sort(key=lambda task: estimate.of(task.config), reverse=True)  # a long one begun last would end alone
        costs = {task.name: estimate.of(task.config) for task in tasks}
        with (
            progress(title, costs, quiet=settings.quiet) as report,
            _saying_how_to_go_on(outcomes, len(configs), log_run_ids),
        ):
            trained = (
                _alone(tasks, report)
                if alone
                else run_tasks(
                    tasks,
                    workers=settings.workers,
                    scheduler=settings.scheduler,
                    worker_timeout=settings.worker_timeout,
                    report=report,
                    starting=starting,
                )
            )
            with closing(trained):  # so that no worker keeps running after an interruption between two outcomes
                for outcome in trained:
                    outcomes[outcome.config] = outcome
                    on_outcomes([outcome])
                    report(_ended(outcome, names[outcome.config]))
    log_run_ids()
    return [outcomes[config] for config in configs if config in outcomes]


def _remove_stale_checkpoints(store: Store, folder: Path) -> None:
    """Remove the checkpoints of this experiment's runs that are finished or deleted; others may use the folder, too."""
    for checkpoints in folder.glob("[0-9a-f]*"):
        if store.is_over(checkpoints.name):
            Checkpoints(checkpoints).remove()


@contextmanager
def _saying_how_to_go_on(
    outcomes: Mapping[TrainingConfig, Outcome], asked: int, on_interruption: Callable[[], None]
) -> Iterator[None]:
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        on_interruption()
        count = sum(outcome.status == Status.FINISHED for outcome in outcomes.values())
        reason = str(error) if isinstance(error, Interrupted) else f"stopped by {error}"
        raise Interrupted(
            f"{reason[:1].upper()}{reason[1:]}: {count} of {asked} networks are finished, and what the "
            "others reached is kept. Run the same command again to go on."
        ) from error


def _alone(tasks: Sequence[Task], report: Report) -> Generator[Outcome, None, None]:
    """Train in this process; after a signal, the training saves its state and stops."""
    with stop_on_signal() as stop:
        for task in tasks:
            outcome = train(task, report=report, stop=stop)
            yield outcome
            if stop.is_set() and outcome.status != Status.FINISHED:
                raise Interrupted(outcome.reason)


def _ended(outcome: Outcome, name: str) -> Event:
    epochs = outcome.config.max_epoch
    if outcome.status == Status.FINISHED:
        text = f"finished, accuracy {accuracy(outcome):.2%}, {outcome.metrics['train_seconds']:.1f} s"
    else:
        text = f"{outcome.status.lower()}: {outcome.reason}"
    return Event(EventKind.ENDED, name, epochs, epochs, text=text)


def finished(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Give the outcomes back if all are finished.

    Raises:
        PipelineError: some are not finished; the message names the first one.
    """
    lacking = [outcome for outcome in outcomes if outcome.status != Status.FINISHED]
    if lacking:
        names = network_names(outcome.config for outcome in outcomes)
        first = f"{names[lacking[0].config]}: {lacking[0].reason}"
        raise PipelineError(f"{len(lacking)} of {len(outcomes)} networks are not finished; the first is {first}")
    return outcomes
