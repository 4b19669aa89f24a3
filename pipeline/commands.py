"""What each command does, from its first check to its last line."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.data import datasets
from pipeline.data.datasets import Dataset
from pipeline.data.drawn_digits import read_images
from pipeline.display import figures
from pipeline.display.progress import progress
from pipeline.display.tables import class_counts, predictions_csv, predictions_table, results_table
from pipeline.errors import Interrupted, PipelineError
from pipeline.report.document import FIGURES, write
from pipeline.report.measured import Runs, require
from pipeline.tracking.registry import accuracy, check_name, register_best
from pipeline.tracking.store import OwnedRun, Store
from pipeline.training.executor import cost, run_tasks, stop_on_signal
from pipeline.training.trainer import (
    Event,
    Outcome,
    Report,
    Task,
    batches_an_epoch,
    check_batch_size,
    held_out,
    lineage,
    reuse,
    train,
)

_HOW_TO_COMPARE: Final = (
    "**To compare the networks:** open the experiment's runs, expand this one, select its children and press "
    "*Compare*: parallel coordinates, the parameters in which they differ, and their curves (`train/...` by "
    "mini-batch, `test/...` after every test_epoch). *Chart view* lays all curves over each other. The artifacts "
    "`curves.png`, `accuracy_map.png` and `results.md` say the same at a glance."
)
_COMPARED: Final = 50
"""Networks beyond which a comparison shows nothing any more."""


@dataclass(frozen=True)
class Settings:
    """Where a command works and how; nothing of it changes a result."""

    data_dir: Path = Path("data")
    source: Path | None = None
    checkpoint_dir: Path = Path("checkpoints")
    workers: int | None = None
    scheduler: str | None = None
    force: bool = False
    quiet: bool = False
    register: str | None = None

    def resolved(self) -> "Settings":
        """The same with absolute folders, as worker processes need them."""
        return replace(self, data_dir=self.data_dir.resolve(), checkpoint_dir=self.checkpoint_dir.resolve())


def prepare(name: str, settings: Settings, parameters: Mapping[str, str], within: str | None = None) -> Dataset:
    """Bring a data set into the data folder; its run shows what is in it."""
    store = Store.open()
    dataset = prepared(name, settings)
    with store.parent(f"prepare {name}", parameters, within=within) as run:
        run.log_dataset(lineage(dataset, "preparation", settings.data_dir))
        run.log_text(class_counts(dataset), "class_counts.md")
        run.log_figure(figures.samples(dataset), "samples.png")
        run.describe(f"Data set {name}, digest {dataset.digest}.\n\n{class_counts(dataset)}")
    return dataset


def train_one(config: TrainingConfig, settings: Settings, parameters: Mapping[str, str]) -> Outcome:
    """Train one network in this process, as a child of the command's run."""
    check_name(settings.register)
    store = Store.open()
    dataset = prepared(config.dataset, settings)
    check_batch_size(config, dataset)
    told = {**parameters, "force": str(settings.force)}
    with store.parent(f"train {config.dataset}", told) as parent:
        outcomes = run_networks(store, parent, [config], dataset, settings, title="train", alone=True)
        table = results_table(outcomes)
        parent.log_text(table, "results.md")
        parent.describe(f"One network on {dataset.name}.\n\n{table}")
        print(table)
        outcome = finished(outcomes)[0]
        _register(store, parent, outcomes, settings)
        return outcome


def train_all(
    title: str,
    configs: Sequence[TrainingConfig],
    settings: Settings,
    parameters: Mapping[str, str],
    *,
    within: str | None = None,
) -> list[Outcome]:
    """Train networks on all cores under one parent run, reusing those that are finished."""
    check_name(settings.register)
    store = Store.open()
    dataset = prepared(configs[0].dataset, settings)
    for config in configs:
        check_batch_size(config, dataset)
    told = {**parameters, "force": str(settings.force)}
    with store.parent(f"{title} {dataset.name}", told, within=within) as parent:
        outcomes = run_networks(store, parent, configs, dataset, settings, title=title)
        table = results_table(outcomes)
        parent.log_text(table, "results.md")
        parent.describe(f"{_summary(store, parent, dataset, outcomes)}\n\n{table}\n\n{_HOW_TO_COMPARE}")
        _draw(store, parent, f"{title} {dataset.name}", outcomes, dataset)
        print(table)
        finished(outcomes)
        _register(store, parent, outcomes, settings)
        return outcomes


def predict(model_uri: str, images: Path, parameters: Mapping[str, str]) -> None:
    """Classify images with a trained network; its run holds the table and a picture of what the network saw."""
    store = Store.open()
    model = store.served(model_uri)
    names, pixels = read_images(images, model.image_shape)
    classes, scores = model.predict(pixels)
    table = predictions_table(names, classes, scores)
    with store.parent("predict", parameters) as run:
        run.log_used_model(model.model_id)
        run.log_text(predictions_csv(names, classes, scores), "predictions.csv")
        run.log_figure(figures.predictions(pixels, names, classes), "predictions.png")
        run.describe(f"{len(names)} images classified by {model_uri}.\n\n{table}")
        print(table)


def report(base: TrainingConfig, output: Path, parameters: Mapping[str, str], within: str | None = None) -> Path:
    """Turn the finished runs into the report, in a folder and among the artifacts of its run; returns its path."""
    store = Store.open()
    runs = Runs(store, base)
    require(runs)
    with store.parent(f"report {base.dataset}", parameters, within=within) as run:
        document = write(runs, output)
        run.log_file(document)
        for figure in sorted((output / FIGURES).iterdir()):
            run.log_file(figure, FIGURES)
        run.describe(f"The report on {base.dataset}: `{document.name}` among the artifacts.")
    print(f"The report is {document}.")
    return document


def _register(store: Store, parent: OwnedRun, outcomes: Sequence[Outcome], settings: Settings) -> None:
    if settings.register:
        sentence = register_best(store, settings.register, outcomes)
        parent.describe(f"{store.get(parent.run_id).description}\n\n{sentence}")
        print(sentence.replace("`", ""))


def run_networks(
    store: Store,
    parent: OwnedRun,
    configs: Sequence[TrainingConfig],
    dataset: Dataset,
    settings: Settings,
    *,
    title: str,
    alone: bool = False,
) -> list[Outcome]:
    """The outcome of every configuration, in their order: those that are finished are reused, the others trained.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM, naming what is finished and how to go on.
    """
    settings = settings.resolved()
    parent.log_dataset(lineage(dataset, "training", settings.data_dir))
    outcomes: dict[TrainingConfig, Outcome] = {}
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
            force=settings.force,
        )
        if found := reuse(task):
            outcomes[config] = found
        else:
            tasks.append(task)
    if tasks:
        tasks.sort(key=cost, reverse=True)
        costs = {task.config.name: cost(task) for task in tasks}
        with progress(title, costs, quiet=settings.quiet) as report, _told_how_to_go_on(outcomes, len(configs)):
            trained = (
                _alone(tasks, report)
                if alone
                else run_tasks(tasks, workers=settings.workers, scheduler=settings.scheduler, report=report)
            )
            with closing(trained):  # so that no worker is left when an interruption comes between two outcomes
                for outcome in trained:
                    outcomes[outcome.config] = outcome
                    report(_ended(outcome))
    return [outcomes[config] for config in configs if config in outcomes]


def _summary(store: Store, parent: OwnedRun, dataset: Dataset, outcomes: Sequence[Outcome]) -> str:
    """What came out, in a sentence of markdown, and links to where MLflow's UI shows it."""
    done = {str(outcome.run_id): accuracy(outcome) for outcome in outcomes if outcome.status == "FINISHED"}
    said = f"{len(outcomes)} networks on {dataset.name}"
    if not done:
        return f"{said}."
    best = max(done, key=done.__getitem__)
    said += (
        f"; the best is `{store.get(best).name}`, {done[best]:.2%} right on the {held_out(outcomes[0].config)} images."
    )
    if len(done) > _COMPARED:
        return said
    ranking = store.ranking(parent.run_id, done)
    return f"{said} **[Compare them]({store.comparison(done)})**, or see [their ranking and curves]({ranking})."


def _draw(store: Store, parent: OwnedRun, title: str, outcomes: Sequence[Outcome], dataset: Dataset) -> None:
    """Store the pictures of a grid: all curves on one axis, and the accuracy of each activation with each loss."""
    done = {outcome.config: outcome for outcome in outcomes if outcome.status == "FINISHED" and outcome.run_id}
    if not done:
        return
    curves = {}
    for config, outcome in done.items():
        batches = batches_an_epoch(config, dataset)
        points = store.history(str(outcome.run_id), f"{held_out(config)}/accuracy")
        curves[config] = [(point.step / batches, point.value) for point in points]
    part = held_out(next(iter(done)))
    parent.log_figure(figures.overlay(title, curves, f"{part} accuracy"), "curves.png")
    if len({replace(config, hidden_layers=1, activation="relu", loss="hinge", seed=0) for config in done}) == 1:
        accuracies = {config: outcome.metrics[f"{part}_accuracy"] for config, outcome in done.items()}
        parent.log_figure(figures.accuracy_map(f"{title}: {part} accuracy", accuracies), "accuracy_map.png")


@contextmanager
def _told_how_to_go_on(outcomes: Mapping[TrainingConfig, Outcome], asked: int) -> Iterator[None]:
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        count = sum(outcome.status == "FINISHED" for outcome in outcomes.values())
        told = str(error) if isinstance(error, Interrupted) else f"stopped by {error}"
        raise Interrupted(
            f"{told[:1].upper()}{told[1:]}: {count} of {asked} networks are finished, and what the "
            "others reached is kept. Run the same command again to go on."
        ) from error


def _alone(tasks: Sequence[Task], report: Report) -> Generator[Outcome, None, None]:
    """Train in this process; a signal lets the training save its state first."""
    with stop_on_signal() as stop:
        for task in tasks:
            outcome = train(task, report=report, stop=stop)
            yield outcome
            if stop.is_set() and outcome.status != "FINISHED":
                raise Interrupted(outcome.reason)


def _ended(outcome: Outcome) -> Event:
    config = outcome.config
    if outcome.status == "FINISHED":
        seconds = outcome.metrics["train_seconds"]
        text = f"finished, accuracy {accuracy(outcome):.2%}, {seconds:.1f} s of training"
    else:
        text = f"{outcome.status.lower()}: {outcome.reason}"
    return Event("ended", config.name, config.max_epoch, config.max_epoch, text=text)


def finished(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """The outcomes, if all that was asked for is finished.

    Raises:
        PipelineError: naming what is not.
    """
    lacking = [outcome for outcome in outcomes if outcome.status != "FINISHED"]
    if lacking:
        first = f"{lacking[0].config.name}: {lacking[0].reason}"
        raise PipelineError(f"{len(lacking)} of {len(outcomes)} networks are not finished; the first is {first}")
    return outcomes


def prepared(name: str, settings: Settings) -> Dataset:
    """The data set, brought into the data folder first if it is not there."""
    return datasets.prepare(name, data_dir=settings.data_dir, source=settings.source, quiet=settings.quiet)
