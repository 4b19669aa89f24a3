"""The results of a command's networks: metrics of their parent run, a table, and links into MLflow's UI."""

import shutil
import textwrap
import time
from collections.abc import Sequence
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset
from pipeline.display.results import BEST, best_results, ranked, results_markdown, results_text, shared_network
from pipeline.names import network_names
from pipeline.output import decoration, say
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import Point, Store
from pipeline.training.splits import split
from pipeline.training.task import Outcome, Status, accuracy, evaluation_split

_COMPARED: Final = 50
"""The most networks that a comparison in MLflow's UI can show clearly."""
_TABLE_CHARACTERS: Final = 4000
"""The most characters of a description's table; MLflow cuts descriptions at 8000, and links to 50 runs take 3000."""
_HOW_TO_COMPARE: Final = (
    "**To compare the networks:** open the experiment's runs, expand this one, select its children and press "
    "*Compare*: parallel coordinates, the parameters in which they differ, and their curves (`train/...` by "
    "mini-batch, `test/...` after every test_epoch). *Chart view* lays all curves over each other. The artifacts "
    "`curves.png`, `accuracy_map.png` and `results.md` say the same at a glance."
)


class Results:
    """The outcomes of a command's networks, collected while the networks are trained.

    Attributes:
        outcomes: the outcomes so far.
    """

    def __init__(
        self, store: Store, parent: OwnedRun, title: str, configs: Sequence[TrainingConfig], dataset: Dataset
    ) -> None:
        """Begin without outcomes.

        Args:
            store: the store of the runs.
            parent: the command's run.
            title: the parent's name.
            configs: the configurations of all networks of the command.
            dataset: the data set of all networks.
        """
        self.outcomes: list[Outcome] = []
        self._store = store
        self._parent = parent
        self._title = title
        self._names = network_names(configs)
        images = len(split(configs[0], dataset)[1])
        self._images = f"{images} {evaluation_split(configs[0])} images"

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Add outcomes, and log on the parent's run how many of its networks are finished."""
        self.outcomes.extend(outcomes)
        with decoration("A metric of the parent run"):
            self._log_metrics()

    def _log_metrics(self) -> None:
        finished = self._finished()
        metrics: dict[str, float] = {
            "networks_asked": len(self._names),
            "networks_finished": len(finished),
            "seconds": sum(outcome.metrics["train_seconds"] for outcome in finished),
        }
        if finished:
            metrics[f"best_{evaluation_split(finished[0].config)}_accuracy"] = accuracy(finished[0])
        now = time.time_ns() // 1_000_000
        self._parent.send([Point(key, value, now, len(finished)) for key, value in metrics.items()])

    def show(self) -> None:
        """Print the table; store it, and a description with links, on the parent's run."""
        if not self.outcomes:
            return
        width = shutil.get_terminal_size((80, 24)).columns
        heading = ", ".join([self._title, *shared_network([outcome.config for outcome in self.outcomes])])
        legend = f"{self._summary()} Accuracy is of the {self._images}."
        paragraphs = [textwrap.fill(text, width) for text in (heading, legend)]
        say("\n".join([*paragraphs, "", results_text(self.outcomes, width)]))
        table = results_markdown(self.outcomes)
        with decoration("results.md"):
            self._parent.log_text(f"{heading}. {legend}\n\n{table}\n", "results.md")
        with decoration("The description"):
            best = best_results(self.outcomes, _TABLE_CHARACTERS)
            self._parent.describe(f"{self._markdown_summary()}\n\n{self._how_to_compare()}\n\n{best}")

    def _finished(self) -> list[Outcome]:
        """Return the outcomes of finished networks, the best first."""
        return [outcome for outcome in ranked(self.outcomes) if outcome.status == Status.FINISHED]

    def _summary(self) -> str:
        finished, asked = self._finished(), len(self._names)
        reused = sum(outcome.reused for outcome in finished)
        if asked == 1:
            earlier = ", trained by an earlier command" if reused else ""
            return f"The network is {'' if finished else 'not '}finished{earlier}."
        earlier = f", {reused} of them by earlier commands" if reused else ""
        return f"{len(finished)} of {asked} networks are finished{earlier}; {BEST} marks the best."

    def _markdown_summary(self) -> str:
        """Summarise the results in sentences with links into MLflow's UI."""
        finished = self._finished()
        if not finished:
            return self._summary()
        best = finished[0]
        summary = (
            f"**{accuracy(best):.2%} of the {self._images}** are classified correctly by the best network, "
            f"`{self._names[best.config]}`. {self._summary()}"
        )
        if len(finished) == 1:
            return summary
        runs = [str(outcome.run_id) for outcome in finished[:_COMPARED]]
        which = "them" if len(runs) == len(finished) else f"the best {len(runs)}"
        ranking = self._store.ranking_link(self._parent.run_id, runs)
        links = (
            f"**[Compare {which}]({self._store.comparison_link(runs)})**, or see [their ranking and curves]({ranking})."
        )
        return f"{summary} {links}"

    def _how_to_compare(self) -> str:
        everything = f"[All runs of this experiment]({self._store.overview_link()}), with the columns that matter."
        return f"{_HOW_TO_COMPARE}\n\n{everything}" if len(self.outcomes) > 1 else everything
