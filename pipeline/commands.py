"""What each command does, from its first check to its last line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline import experiments
from pipeline.config import PUBLISHED_SIZES, TrainingConfig
from pipeline.data.datasets import Dataset, load
from pipeline.data.doubt import classify
from pipeline.display import figures
from pipeline.display.progress import progress
from pipeline.display.tables import class_counts, markdown_table, predictions_csv, predictions_table
from pipeline.errors import Interrupted, PipelineError, UsageError
from pipeline.experiments import WEAK_NETWORK
from pipeline.names import parent_name
from pipeline.output import decoration, notice, say
from pipeline.report import longform
from pipeline.report.document import FIGURES, write
from pipeline.report.measured import Runs, require
from pipeline.report.settings import chosen
from pipeline.search.dry_run import describe_search
from pipeline.search.search import Plan, search
from pipeline.search.space import DEFAULT_SPACE, Space
from pipeline.tracking.artifacts import check_not_moved
from pipeline.tracking.models import check_name, load_served, register_best
from pipeline.tracking.parents import command_run
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import Store
from pipeline.training import provenance
from pipeline.training.cluster import local_workers, worker_count
from pipeline.training.networks import Settings, finished, prepared, run_networks
from pipeline.training.plan import describe_plan, plan_networks, seconds
from pipeline.training.results import Results
from pipeline.training.splits import batches_an_epoch, check_batch_size, lineage
from pipeline.training.task import Event, EventKind, Outcome, Status, evaluation_split
from pipeline.training.verification import config_of, verify

if TYPE_CHECKING:
    from pipeline.training.cluster import Ready


def prepare(name: str, settings: Settings, parameters: Mapping[str, str], parent_id: str | None = None) -> Dataset:
    """Bring a data set into the data folder, and log a run that shows its content."""
    store = Store.open()
    dataset = prepared(name, settings)
    with command_run(store, f"prepare {name}", parameters, parent_id=parent_id) as run:
        run.log_dataset(lineage(dataset, "preparation", settings.data_dir))
        with decoration("class_counts.md"):
            run.log_text(class_counts(dataset), "class_counts.md")
        with decoration("samples.png"):
            run.log_figure(figures.samples(dataset), "samples.png")
        with decoration("The description"):
            run.describe(f"Data set {name}, digest {dataset.digest}.\n\n{class_counts(dataset)}")
    return dataset


def train_one(config: TrainingConfig, settings: Settings, parameters: Mapping[str, str]) -> Outcome:
    """Train one network in this process, as a child of the command's run."""
    [outcome] = _train("train", [config], settings, parameters, alone=True)
    return outcome


def train_all(
    title: str,
    configs: Sequence[TrainingConfig],
    settings: Settings,
    parameters: Mapping[str, str],
    *,
    parent_id: str | None = None,
    at_once: bool = False,
) -> list[Outcome]:
    """Train networks on all cores under one parent run; finished networks are reused.

    Args:
        title: the entry point.
        configs: the networks' configurations.
        settings: where and how to train.
        parameters: the command's parameters, which its run logs.
        parent_id: the parent of the command's run.
        at_once: start the workers before it is known whether a network has to be trained, because store and data take
            as long to get ready as the workers do.
    """
    if not at_once or settings.scheduler:
        return _train(title, configs, settings, parameters, parent_id=parent_id)
    check_name(settings.register)
    with local_workers(settings.workers, len(configs)) as starting:
        return _train(title, configs, settings, parameters, parent_id=parent_id, starting=starting)


def show_plan(title: str, configs: Sequence[TrainingConfig], settings: Settings, *, alone: bool = False) -> None:
    """Say what a command would do with each network, and how long that takes; nothing is trained or stored."""
    store = Store.open()
    name = parent_name(title, configs)
    settings = settings.resolved()
    try:
        dataset = load(configs[0].dataset, settings.data_dir)
    except PipelineError:
        say(f"{name}: {len(configs)} networks; what is finished is known once the data set is prepared.")
        return
    for config in configs:
        check_batch_size(config, dataset)
    planned = plan_networks(store, configs, dataset, settings)
    workers = 1 if alone else worker_count(settings.workers)
    say(f"{describe_plan(name, planned, seconds(store, planned), workers)}\n")


def _train(
    title: str,
    configs: Sequence[TrainingConfig],
    settings: Settings,
    parameters: Mapping[str, str],
    *,
    parent_id: str | None = None,
    alone: bool = False,
    starting: "Ready | None" = None,
) -> list[Outcome]:
    """Train networks and print their results, also after the user stopped them.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM.
        PipelineError: some of them are not finished.
    """
    check_name(settings.register)
    store = Store.open()
    dataset = prepared(configs[0].dataset, settings)
    for config in configs:
        check_batch_size(config, dataset)
    name = parent_name(title, configs)
    with command_run(store, name, {**parameters, "force": str(settings.force)}, parent_id=parent_id) as command:
        results = Results(store, command, name, configs, dataset)
        try:
            outcomes = run_networks(
                store,
                command,
                configs,
                dataset,
                settings,
                title=name,
                alone=alone,
                starting=starting,
                on_outcomes=results.add,
            )
        except Interrupted:
            results.show()
            raise
        results.show()
        if not alone:
            _draw(store, command, name, outcomes, dataset)
        finished(outcomes)
        _register(store, command, outcomes, settings)
        return outcomes


def verify_run(run_id: str, settings: Settings) -> None:
    """Train a finished network again and compare its metrics; nothing is written to the store.

    Raises:
        UsageError: there is no such run, or it is not the run of a network.
        PipelineError: a point of a metric differs; the message says which.
    """
    store = Store.open()
    run = store.find(run_id)
    if run is None:
        raise UsageError(f"run is {run_id!r}, which the experiment does not have; give the id of a finished network.")
    config = config_of(run)
    dataset = prepared(config.dataset, settings)
    with progress("verify", {run.name: config.max_epoch}, quiet=settings.quiet) as report:
        result = verify(
            store, run, config, dataset,
            lambda epoch: report(Event(EventKind.EPOCH, run.name, config.max_epoch, epoch)),
        )  # fmt: skip
    here = provenance.arithmetic()
    columns = {"the run": run.tags, "here": here}
    rows = [[where, *(tags.get(name, "not recorded") for name in here)] for where, tags in columns.items()]
    say(markdown_table(rows, ["", *here]))
    if result.difference:
        raise PipelineError(f"{run.name} ({run_id}) differs first at {result.difference}.")
    say(f"\nidentical: {run.name} ({run_id}), trained again, has the same {result.compared} points of its metrics.")


def predict(model_uri: str, images: Path, parameters: Mapping[str, str]) -> None:
    """Classify images with a trained network, and log a run with the table and the images as the network saw them.

    Raises:
        PipelineError: some pictures cannot be read; the others are classified before this error names them.
    """
    from pipeline.data.drawn_digits import read_images  # here, because SciPy takes a third of a second to load

    store = Store.open()
    check_not_moved(store)
    model = load_served(model_uri)
    drawings = read_images(images, model.image_shape)
    predictions = classify(drawings.names, drawings.images, drawings.doubts, model.predict)
    table = predictions_table(predictions)
    if drawings.left_out:
        noun = "file" if drawings.left_out == 1 else "files"
        table += f"\n\n{drawings.left_out} {noun} left out, because only pictures are classified."
    with command_run(store, "predict", parameters) as run:
        say(table)
        run.log_used_model(model.model_id)
        run.log_text(predictions_csv(predictions), "predictions.csv")
        with decoration("predictions.png"):
            run.log_figure(figures.predictions(drawings.images, predictions), "predictions.png")
        unread = "".join(f"\n\n{sentence}" for sentence in drawings.unreadable)
        with decoration("The description"):
            run.describe(f"{len(predictions)} images classified by {model_uri}.\n\n{table}{unread}")
    if drawings.unreadable:
        count = len(drawings.unreadable)
        raise PipelineError(
            f"{count} of {count + len(predictions)} pictures cannot be read, the others are classified: "
            f"{' '.join(drawings.unreadable)}"
        )


def report(
    base: TrainingConfig,
    output: Path,
    parameters: Mapping[str, str],
    parent_id: str | None = None,
    *,
    data_dir: Path | None = None,
) -> Path:
    """Write the report of the finished runs to a folder and to the artifacts of the command's run; returns its path.

    Args:
        base: the data set and the hyperparameters of the reported networks.
        output: folder of the report.
        parameters: the command's parameters, which its run logs.
        parent_id: the parent of the command's run.
        data_dir: folder of prepared data; only runs without stored predictions need it.
    """
    given, output = output, output.resolve()
    store = Store.open()
    runs = Runs(store, base, data_dir)
    require(runs)
    used, sentence = chosen(runs)
    if sentence:
        notice(sentence)
        runs = Runs(store, used, data_dir)
    with command_run(store, f"report {base.dataset}", parameters, parent_id=parent_id) as run:
        try:
            document = write(runs, output)
        except OSError as error:
            raise PipelineError(
                f"output is {str(given)!r}, and the report cannot be written to {output} ({error.strerror or error}); "
                "give a folder that can be written, best with its absolute path, because `mlflow run` starts in the "
                "folder of the project."
            ) from error
        say(f"The report is {document}.")
        with decoration("The report among the artifacts of its run"):
            for file in (document, output / longform.FIGURES_FILE, output / longform.COMPARISONS_FILE):
                if file.exists():
                    run.log_file(file)
            for figure in sorted((output / FIGURES).iterdir()):
                run.log_file(figure, FIGURES)
        with decoration("The description"):
            run.describe(f"The report on {base.dataset}: `{document.name}` among the artifacts.")
    return document


def _register(store: Store, command: OwnedRun, outcomes: Sequence[Outcome], settings: Settings) -> None:
    if settings.register:
        sentence = register_best(store, settings.register, outcomes)
        say(sentence.replace("`", ""))
        with decoration("The description"):
            command.describe(f"{store.get(command.run_id).description}\n\n{sentence}")


def _draw(store: Store, command: OwnedRun, title: str, outcomes: Sequence[Outcome], dataset: Dataset) -> None:
    """Store the pictures of a grid: all curves in one figure, and the accuracy of each activation with each loss."""
    done = {outcome.config: outcome for outcome in outcomes if outcome.status == Status.FINISHED and outcome.run_id}
    if not done:
        return
    split = evaluation_split(next(iter(done)))
    with decoration("curves.png"):
        curves = {}
        for config, outcome in done.items():
            batches = batches_an_epoch(config, dataset)
            points = store.history(str(outcome.run_id), f"{split}/accuracy")
            curves[config] = [(point.step / batches, point.value) for point in points]
        command.log_figure(figures.overlay(title, curves, f"{split} accuracy"), "curves.png")
    if len({replace(config, hidden_sizes=(128,), activation="relu", loss="hinge", seed=0) for config in done}) == 1:
        with decoration("accuracy_map.png"):
            accuracies = {config: outcome.metrics[f"{split}_accuracy"] for config, outcome in done.items()}
            command.log_figure(figures.accuracy_map(f"{title}: {split} accuracy", accuracies), "accuracy_map.png")


_OF_ONE_NETWORK: Final = ("hidden_sizes", "hidden_layers", "activation", "loss", "seed")
"""Parameters that have no single value in a command that trains several networks."""


def reproduce(
    base: TrainingConfig,
    settings: Settings,
    parameters: Mapping[str, str],
    *,
    seeds: Sequence[int],
    trials: int,
    output: Path,
) -> None:
    """Prepare the data, train the grid and the studies, search, and write the report.

    Args:
        base: the data set and the hyperparameters that all networks share.
        settings: where and how to work.
        parameters: the command's parameters, which its run logs.
        seeds: each network of grid and studies is trained once with each seed.
        trials: the number of finished trials of the search.
        output: folder of the report.
    """
    networks = experiments.grid(
        base, hidden_sizes=PUBLISHED_SIZES.values(), activations=ACTIVATIONS, losses=LOSSES, seeds=seeds
    )
    swept = experiments.sweep(base, seeds=seeds)
    if settings.dry_run:
        show_plan("grid", networks, settings)
        show_plan("sweep", swept, settings)
        say(describe_search(_weak(base), Plan(trials, seeds=seeds), settings))
        say(f"\nAt the end comes the report in {output.resolve()}.")
        return
    of_all = {"seeds": ",".join(map(str, seeds))}
    shared = {name: value for name, value in base.parameters().items() if name not in _OF_ONE_NETWORK} | of_all
    with command_run(Store.open(), f"reproduction {base.dataset}", parameters) as run:
        parent_id = run.run_id
        prepare(base.dataset, settings, {"dataset": base.dataset}, parent_id)
        train_all("grid", networks, settings, shared, parent_id=parent_id)
        train_all("sweep", swept, settings, shared, parent_id=parent_id)
        of_search = {**_weak(base).parameters(), **of_all, "trials": str(trials)}
        plan = Plan(trials, seeds=seeds)
        search(_weak(base), Space.parse(DEFAULT_SPACE), plan, settings, of_search, parent_id=parent_id)
        report(base, output, {"dataset": base.dataset}, parent_id, data_dir=settings.data_dir)
        with decoration("The description"):
            run.describe("Every step of the reproduction is folded under this run; the last, the report, has it all.")


def _weak(base: TrainingConfig) -> TrainingConfig:
    """Return the network that is searched, with the hyperparameters of `base`."""
    named = ("hidden_sizes", "activation", "loss")
    return replace(base, **{name: getattr(WEAK_NETWORK, name) for name in named})
