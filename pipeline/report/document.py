"""The markdown document: tables first, then curves, claims, depths, the search and the runs behind it all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Final

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import TrainingConfig
from pipeline.display import figures
from pipeline.display.tables import markdown_table
from pipeline.experiments import STUDIES, grid
from pipeline.report import published, tables
from pipeline.report.claims import ABOUT_EQUAL, CLEARLY_LONGER, NEAR, Claim, Verdict, judge
from pipeline.report.comparison import CONFIDENCE
from pipeline.report.measured import SEEDS_WITH_CURVES, Runs, Search, require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCUMENT: Final = "results.md"
FIGURES: Final = "figures"
_DPI: Final = 80
_DEPTHS: Final = {1: "One hidden layer", 2: "Two hidden layers"}
_STUDIES: Final = {
    "max_epoch": "Sigmoid + Euclidean for 400 epochs",
    "learning_rate": "Learning rate of Sigmoid + Euclidean",
    "best_learning_rate_with_hinge": "Sigmoid + hinge at learning rate 0.09",
}


def write(runs: Runs, folder: Path) -> Path:
    """Write the document and its figures into `folder`, whole or not at all; returns the document's path.

    Raises:
        PipelineError: if there is nothing to report on.
    """
    require(runs)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        made = Path(temporary)
        (made / FIGURES).mkdir()
        text = "\n\n".join(_Document(runs, made).parts()) + "\n"
        shutil.rmtree(folder / FIGURES, ignore_errors=True)
        (made / FIGURES).rename(folder / FIGURES)
        (made / DOCUMENT).write_text(text, encoding="utf-8")
        (made / DOCUMENT).replace(folder / DOCUMENT)
    return folder / DOCUMENT


class _Document:
    """The parts of the document, with the figures drawn on the way."""

    def __init__(self, runs: Runs, folder: Path) -> None:
        self.runs = runs
        self.folder = folder
        self.networks = grid(
            runs.base, hidden_layers=_DEPTHS, activations=ACTIVATIONS, losses=LOSSES, seeds=[runs.base.seed]
        )
        self.studies = {name: [self._of_base(each) for each in configs] for name, configs in STUDIES.items()}
        swept = [config for configs in self.studies.values() for config in configs]
        found = [search.best for search in runs.searches]
        self.everything = list(dict.fromkeys([*self.networks, *swept, *found]))

    def _of_base(self, each: TrainingConfig) -> TrainingConfig:
        varied = ("hidden_layers", "activation", "loss", "learning_rate", "max_epoch")
        return replace(self.runs.base, **{name: getattr(each, name) for name in varied})

    def parts(self) -> Iterator[str]:
        yield from self._head()
        for depth, title in _DEPTHS.items():
            yield f"## {title}"
            for metric, caption in tables.NETWORK_FIGURES.items():
                yield f"### {caption}, {title.lower()}"
                yield tables.networks(self.runs, depth, metric)
        yield from self._studies()
        yield from self._curves()
        yield from self._claims()
        yield "## One hidden layer against two"
        yield "Test accuracy and training time; the gain is that of the second hidden layer."
        yield tables.depths(self.runs)
        yield from self._searches()
        yield "## Runs"
        yield "The runs behind the figures, by their id in MLflow."
        yield tables.run_ids(self.runs, self.everything)

    def _head(self) -> Iterator[str]:
        base = self.runs.base
        count = sum(len(self.runs.of(config)) for config in self.everything)
        yield f"# Results on {base.dataset}"
        yield (
            f"{count} finished runs on the data with digest `{self.runs.digest}`, trained as published except where a "
            f"table says otherwise: {_hyperparameters(base)}. Written by `mlflow run . -e report`; every measured "
            "figure leads to its run and to the command that makes it again."
        )
        if base.dataset == published.DATASET:
            yield (
                "Cells show **measured / published / difference**. The published cross-entropy losses are means over "
                "all elements of a batch, a tenth of the usual batch mean with 10 classes; the measured ones are "
                "divided by 10 for the comparison, here and nowhere else."
            )
        else:
            yield "The published figures are of MNIST, so none stand beside these."
        yield self._seeds()
        if self.runs.other_data:
            yield f"The experiment also has runs on other data named {base.dataset!r}; they are left out."
        yield from self._missing()

    def _seeds(self) -> str:
        most = max(len(self.runs.of(config)) for config in self.everything)
        if most < 2:  # noqa: PLR2004 - more than one
            return "One seed for each network: a difference is taken as it is, its chance unknown."
        return (
            f"Up to {most} seeds for each network: figures are means ± standard deviations, and differences are paired "
            f"by seed, with {CONFIDENCE:.0%} confidence intervals; a difference inside its interval is a tie. Curves "
            f"and epochs are of the first {SEEDS_WITH_CURVES} seeds at most."
        )

    def _missing(self) -> Iterator[str]:
        lacking = [config for config in self.everything if not self.runs.of(config)]
        if lacking:
            commands = "\n".join(tables.command(config) for config in lacking)
            yield f"{len(lacking)} networks are missing; these commands make them:\n\n```\n{commands}\n```"

    def _studies(self) -> Iterator[str]:
        for name, configs in self.studies.items():
            yield f"## {_STUDIES[name]}"
            yield tables.study(self.runs, configs)
            if name == "learning_rate" and (points := self._by_rate()):
                figure = figures.by_learning_rate("Sigmoid + Euclidean, one hidden layer", points)
                yield self._figure("learning-rate", "Test accuracy by learning rate", figure)

    def _by_rate(self) -> Mapping[str, Mapping[float, float]]:
        configs = self.studies["learning_rate"]
        measured = {
            config.learning_rate: mean(run.figures["test_accuracy"] for run in found)
            for config in configs
            if (found := self.runs.of(config))
        }
        theirs = {
            config.learning_rate: known.figures["test_accuracy"]
            for config in configs
            if (known := published.find(config))
        }
        lines = {"test, measured": measured, "test, published": theirs}
        return {name: points for name, points in lines.items() if points} if measured else {}

    def _curves(self) -> Iterator[str]:
        yield "## Training curves"
        for depth, title in _DEPTHS.items():
            curves = {
                config: curve
                for config in self.networks
                if config.hidden_layers == depth
                for run in self.runs.of(config)[:1]
                if (curve := self.runs.curve(run, "test/accuracy"))
            }
            if curves:
                figure = figures.overlay(title, curves, "test accuracy")
                yield self._figure(f"overlay-{depth}h", f"Test accuracy of all networks, {title.lower()}", figure)
        for config in self.networks:
            for run in self.runs.of(config)[:1]:
                names = [f"{part}/{kind}" for part in ("train", "test") for kind in ("loss", "accuracy")]
                history = {name: self.runs.curve(run, name) for name in names}
                figure = figures.training_curves(config.name, history)
                yield self._figure(config.name.split(" ")[0], f"Training curves of {config.name}", figure)

    def _claims(self) -> Iterator[str]:
        yield "## The published conclusions"
        yield (
            "Each is judged from the runs: it holds where every comparison bears it out, in part where some do. "
            f"Numbers of epochs within {ABOUT_EQUAL:.0%} are about equal; an accuracy within {100 * NEAR:g} percentage "
            f"points of the published one reproduces it; {CLEARLY_LONGER} times as long is clearly longer."
        )
        claims = judge(self.runs)
        yield markdown_table([[claim.number, claim.text, f"**{claim.verdict}**"] for claim in claims],
                             ["claim", "text", "verdict"], texts=3)  # fmt: skip
        for claim in claims:
            yield from _reasons(claim)
        yield "### Convergence"
        yield "Epochs after which the test accuracy first reached a target; it is evaluated every test_epoch epochs."
        yield tables.convergence(self.runs)

    def _searches(self) -> Iterator[str]:
        yield "## Search"
        if not self.runs.searches:
            yield "No search has finished on these data; `mlflow run . -e search` makes one."
        for search in self.runs.searches:
            yield f"### {search.study}"
            yield _standing(search)
            yield tables.search(self.runs, search)
            points = {state: _points(search, state) for state in ("complete", "pruned")}
            figure = figures.search_history(search.study, {state: found for state, found in points.items() if found})
            yield self._figure(f"search-{search.run_id[:8]}", f"History of the search {search.study}", figure)
            yield tables.trials(search)

    def _figure(self, name: str, caption: str, figure: "Figure") -> str:
        figure.savefig(self.folder / FIGURES / f"{name}.png", dpi=_DPI)
        return f"![{caption}]({FIGURES}/{name}.png)"


def _hyperparameters(base: TrainingConfig) -> str:
    named = ("learning_rate", "weight_decay", "momentum", "batch_size", "max_epoch", "init_std", "hinge_margin")
    return ", ".join(f"{name} {getattr(base, name)}" for name in named)


def _standing(search: Search) -> str:
    states = [trial.state for trial in search.trials]
    counts: Callable[[str], int] = states.count
    space = ", ".join(f"{name} {value}" for name, value in search.space.items())
    return (
        f"Run `{search.run_id}`; space: {space}. {len(states)} trials: {counts('complete')} complete, "
        f"{counts('pruned')} pruned, {counts('fail')} failed. The validation images are the last sixth of the training "
        "images; the best configuration was retrained on all of them and tested once."
    )


def _points(search: Search, state: str) -> list[tuple[int, float]]:
    """The accuracies of the trials in a state, by number."""
    return [(each.number, each.accuracy) for each in search.trials if each.state == state and each.accuracy is not None]


def _reasons(claim: Claim) -> Iterator[str]:
    yield f"### Claim {claim.number}: {claim.verdict}"
    yield claim.text
    yield "\n".join(f"- {finding.says}: {finding.figures}." for finding in claim.findings)
    if claim.verdict is Verdict.OPEN:
        commands = "\n".join(tables.command(config) for config in claim.missing)
        yield f"To judge it, run:\n\n```\n{commands or 'mlflow run . -e grid'}\n```"
