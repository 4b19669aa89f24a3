"""The report as a markdown document: the outcome, tables and pictures, then their sources in folded sections."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.config import format_init_std
from pipeline.experiments import STUDIES
from pipeline.output import decoration, printable
from pipeline.report import initialisation, longform, outcome, pictures, published, searches, tables
from pipeline.report.claims import ABOUT_EQUAL, CLEARLY_LONGER, judge_claims
from pipeline.report.comparison import TARGETS
from pipeline.report.measured import Runs, Search, require
from pipeline.report.networks import all_networks, of_base
from pipeline.report.outcome import prose
from pipeline.report.reproduced import TOO_WIDE, TOO_WIDE_LOSS, OverSeeds, by_accuracy, cells
from pipeline.report.statements import Claim
from pipeline.report.statistics import CONFIDENCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCUMENT: Final = "results.md"
FIGURES: Final = "figures"
_DEPTHS: Final = {1: "One hidden layer", 2: "Two hidden layers"}
_STUDIES: Final = {
    "max_epoch": "Sigmoid + Euclidean for 400 epochs",
    "learning_rate": "Learning rate of Sigmoid + Euclidean",
    "best_learning_rate_with_hinge": "Sigmoid + hinge at learning rate 0.09",
}


def write(runs: Runs, folder: Path) -> Path:
    """Write the document, its pictures and its CSV files into `folder`; return the document's path.

    All files are written to a temporary folder first, so a failure leaves the previous report unchanged.

    Raises:
        PipelineError: there is no run to report on.
    """
    require(runs)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        made = Path(temporary)
        (made / FIGURES).mkdir()
        document = _Document(runs, made)
        text = "\n\n".join(document.parts()) + "\n"
        (made / DOCUMENT).write_text(printable(text), encoding="utf-8")
        longform.write(made, runs, document.every_config, document.claims)
        shutil.rmtree(folder / FIGURES, ignore_errors=True)
        (folder / longform.COMPARISONS_FILE).unlink(missing_ok=True)  # from a report on another data set
        for each in sorted(made.iterdir()):
            each.replace(folder / each.name)
    return folder / DOCUMENT


class _Document:
    """The parts of the document; a part draws its pictures when it is made."""

    def __init__(self, runs: Runs, folder: Path) -> None:
        self.runs = runs
        self.folder = folder
        self.is_published = published.covers(runs.base)
        self.readings = initialisation.readings(runs)
        self.reading = self.readings[0]
        self.networks = all_networks(replace(runs.base, seed=0))
        self.studies = {name: [of_base(runs.base, each) for each in configs] for name, configs in STUDIES.items()}
        if not self.is_published:  # the published studies are about other data
            self.studies = {name: configs for name, configs in self.studies.items() if any(map(runs.of, configs))}
        swept = [config for configs in self.studies.values() for config in configs]
        found = [search.best for search in runs.searches]
        self.everything = list(dict.fromkeys([*self.networks, *swept, *found]))
        self.every_config = [reading.config(config) for reading in self.readings for config in self.everything]

    @cached_property
    def claims(self) -> list[Claim]:
        """The published conclusions, judged; empty for other data than the published ones."""
        return judge_claims(self.reading)

    def parts(self) -> Iterator[str]:
        yield f"# Results on {self.runs.base.dataset}"
        yield from self._outcome()
        yield from self._networks()
        yield from self._other_sizes()
        yield from self._tables()
        yield from self._studies()
        if len(self.readings) > 1:
            yield "## Initialisation"
            yield from initialisation.section(self.readings)
        if self.is_published:
            yield from self._claims()
        yield from self._searches()
        yield from self._methods()
        yield from self._folded()

    def _outcome(self) -> Iterator[str]:
        if self.is_published:
            yield from outcome.reproduction(cells(self.reading, self.networks))
        else:
            yield outcome.standing_alone(self.reading, self.networks)
        yield from self._missing()
        if self.is_published:
            yield tables.statements(self.claims)
        for search in self.runs.searches:
            yield prose(f"Best of the search {searches.sentence(self.reading, search)}")
        yield outcome.effort([run for config in dict.fromkeys(self.every_config) for run in self.runs.of(config)])

    def _missing(self) -> Iterator[str]:
        lacking = [config for config in self.everything if not self.runs.of(config)]
        if lacking:
            yield f"{len(lacking)} networks are missing; [these commands](#commands-for-what-is-missing) make them."

    def _networks(self) -> Iterator[str]:
        yield "## The networks"
        where = f"where one more seed would lie with a probability of {CONFIDENCE:.0%}"
        compared = cells(self.reading, self.networks, ["test_accuracy"])
        measured: list[OverSeeds]
        if self.is_published:
            yield tables.by_difference(self.reading)
            yield prose(
                f"Each with its standard deviation over seeds, {where}, and by how much the published figure lies "
                "outside of that (✗)."
            )
            measured = [*sorted(compared, key=lambda each: each.difference)]
            caption = "Measured and published test accuracy of each network"
        else:
            yield tables.by_accuracy(self.reading)
            yield prose(f"Each with its standard deviation over seeds, and {where}.")
            measured = by_accuracy(self.reading, self.networks)
            caption = "Test accuracy of each network"
        if measured:
            yield self._figure("networks", caption, pictures.networks(measured))

    def _other_sizes(self) -> Iterator[str]:
        found = self.runs.of_other_sizes()
        if found:
            yield "## Networks of other sizes"
            if self.is_published:
                yield prose(
                    "The publication has no network of these sizes: nothing stands beside them, and its conclusions, "
                    "judged below, are about networks of 128 and of 256 and 64 hidden units alone."
                )
            yield tables.other_sizes(self.reading, found)

    def _tables(self) -> Iterator[str]:
        if self.is_published:
            yield "## The published tables"
            yield prose(
                "Cells show measured / published / difference and a mark: ✓ reproduced, ✗ outside by so much, ~ too "
                "wide to tell, ? of one seed. Cross-entropy losses are in the published convention, a tenth of the "
                "usual one. Times are followed by their ratio to relu + euclidean with one layer on the same machine."
            )
        else:
            yield "## Activations and losses"
            yield "Times are followed by their ratio to relu + euclidean with one layer."
        for depth, title in _DEPTHS.items():
            for metric, caption in tables.NETWORK_FIGURES.items():
                yield f"### {caption}, {title.lower()}"
                yield tables.networks(self.reading, depth, metric)

    def _studies(self) -> Iterator[str]:
        for name, configs in self.studies.items():
            yield f"## {_STUDIES[name]}"
            yield tables.study(self.readings, configs)
            if name == "learning_rate" and (lines := self._by_rate()):
                caption = "Test accuracy of Sigmoid + Euclidean by learning rate"
                known = {each.config.learning_rate: each.metrics["test_accuracy"]
                         for config in configs if (each := published.find(config))}  # fmt: skip
                yield self._figure("learning-rate", caption, pictures.by_learning_rate(lines, known))

    def _by_rate(self) -> dict[str, dict[float, list[float]]]:
        configs = self.studies["learning_rate"]
        lines = {
            f"measured, init_std {format_init_std(reading.config(configs[0]).init_std)}": {
                config.learning_rate: [run.metrics["test_accuracy"] for run in found]
                for config in configs
                if (found := reading.of(config))
            }
            for reading in self.readings
        }
        if not lines[next(iter(lines))]:
            return {}
        return {name: points for name, points in lines.items() if points}

    def _claims(self) -> Iterator[str]:
        yield "## The published conclusions"
        figure = pictures.forest(self.claims)
        if figure is not None:
            yield self._figure("claims", "The number behind each statement, with its interval", figure)
        for claim in self.claims:
            yield from outcome.reasons(claim)

    def _searches(self) -> Iterator[str]:
        yield "## Search"
        if not self.runs.searches:
            yield "No search has finished on these data; `mlflow run . -e search` makes one."
        for search in self.runs.searches:
            yield f"### {search.study}"
            yield prose(searches.standing(search))
            yield searches.configurations(self.reading, search)
            if search.confirmation:
                yield search.confirmation
            if "history" in search.pictures:
                yield self._picture(search, "history")

    def _picture(self, search: Search, name: str) -> str:
        """Write a picture of a search beside the report's own; return the markdown that shows it."""
        file = f"{FIGURES}/search-{search.run_id[:8]}-{name}.png"
        (self.folder / file).write_bytes(search.pictures[name])
        return f"![{name.capitalize()} of the search {search.study}]({file})"

    def _methods(self) -> Iterator[str]:
        base = self.runs.base
        named = ("learning_rate", "weight_decay", "momentum", "batch_size", "max_epoch", "init_std", "hinge_margin")
        values = base.parameters()
        used = tables.seeds(self.runs, self.everything)
        yield "## How it was measured"
        yield prose(
            f"Seeds {', '.join(map(str, used))}; {', '.join(f'{name} {values[name]}' for name in named)}, "
            f"except where a table says otherwise; data with digest `{self.runs.digest}`. Written by `mlflow run . -e "
            "report`, from runs that [the table of runs](#runs) lists with the commands that make them again."
        )
        means = (
            "Figures are means ± standard deviations over seeds. A difference of accuracies is paired by seed and by "
            "test image, and its interval counts both as chance (crossed random effects; t with Satterthwaite's "
            "degrees of freedom); times, losses and epochs are compared as ratios, paired by seed."
        )
        one_seed = "One seed has the deviation of the networks of the grid with the same loss."
        if self.is_published:
            yield prose(
                f"{means} A statement is judged by the mean over its pairs. The statements of a claim are corrected "
                "together, and so are its pairs (Holm); an interval has the level of its own test. P is the share of "
                f"seeds that bear it out. Epochs to {', '.join(f'{target:.0%}' for target in TARGETS)} test accuracy "
                f"measure convergence; ratios of epochs within {ABOUT_EQUAL:.0%} are about equal, and "
                f"{CLEARLY_LONGER} times as long is clearly longer."
            )
            yield prose(
                f"A published figure is one draw: it is reproduced if it lies in the {CONFIDENCE:.0%} prediction "
                f"interval of one more seed. An interval wider than ± {100 * TOO_WIDE:g} points, or ± "
                f"{TOO_WIDE_LOSS:.0%} of a loss, tells nothing. {one_seed}"
            )
        else:
            yield prose(f"{means} {one_seed}")
        if self.runs.other_data:
            yield prose(f"The experiment also has runs on other data named {base.dataset!r}; they are left out.")

    def _folded(self) -> Iterator[str]:
        yield "## Details"
        if self.is_published:
            yield from _fold("Every comparison behind the claims", tables.pairs(self.claims))
        yield from _fold("One hidden layer against two", tables.depths(self.reading))
        yield from _fold("Epochs to reach a test accuracy", tables.convergence(self.reading))
        for kind in ("loss", "accuracy"):
            if figure := pictures.curves(self.reading, kind):
                caption = f"Training and test {kind} of all networks by epoch"
                yield from _fold(caption, self._figure(f"curves-{kind}", caption, figure))
        for search in self.runs.searches:
            others = [self._picture(search, name) for name in search.pictures if name != "history"]
            yield from _fold(f"Trials of the search {search.study}", "\n\n".join([searches.trials(search), *others]))
        yield '<a id="runs"></a>'
        yield from _fold("The runs behind the figures", tables.run_ids(self.readings, self.everything))
        lacking = [config for config in self.everything if not self.runs.of(config)]
        if lacking:
            commands = "\n".join(tables.command(config) for config in lacking)
            yield '<a id="commands-for-what-is-missing"></a>'
            yield from _fold("Commands for what is missing", f"```\n{commands}\n```")

    def _figure(self, name: str, caption: str, figure: "Figure") -> str:
        """Write a figure; return the markdown that shows it, or a sentence if the figure cannot be drawn."""
        file = f"{FIGURES}/{name}.svg"
        with decoration(file):
            pictures.save(figure, self.folder / file)
            return f"![{caption}]({file})"
        return f"({caption}: the figure could not be drawn.)"


def _fold(title: str, text: str) -> Iterator[str]:
    """Yield a section that a reader opens with a click."""
    yield f"<details>\n<summary>{title}</summary>"
    yield text
    yield "</details>"
