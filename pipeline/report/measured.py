"""The finished runs on one data set, read from MLflow and found by their configuration."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PUBLISHED_SIZES, TrainingConfig
from pipeline.data.datasets import Dataset, load
from pipeline.errors import PipelineError, UsageError
from pipeline.output import one_line, warn
from pipeline.report import networks
from pipeline.tracking.store import BASELINE_RUN_TAG, BEST_RUN_TAG, Store, TrackedRun
from pipeline.training.predictions import kept
from pipeline.training.provenance import NUMPY_TAG, PROCESSOR_TAG

FIGURES: Final = ("train_accuracy", "train_loss", "test_accuracy", "test_loss", "train_seconds")
SEEDS_WITH_CURVES: Final = 5
"""Curves are read for this many seeds of a network, because curves are most of the data in a store."""
_LATEST_FIRST: Final = ("attributes.end_time DESC",)
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_NO_INFLUENCE: Final = ("disp_freq", "test_epoch", "seed")

Curve = Sequence[tuple[float, float]]
"""Points (epoch, value)."""


@dataclass(frozen=True)
class Measured:
    """A finished run with its final metrics.

    Attributes:
        run_id: the run's id in MLflow.
        config: the network's configuration.
        metrics: the final metrics by name.
        started: start time in milliseconds since 1970.
        ended: end time in milliseconds since 1970.
        machine: processor and NumPy version of the training; empty if the run does not have them.
    """

    run_id: str
    config: TrainingConfig
    metrics: Mapping[str, float]
    started: int = 0
    ended: int = 0
    machine: str = ""


@dataclass(frozen=True)
class Trial:
    """A trial of a search; `accuracy` is its last accuracy on the validation images, or None."""

    number: int
    state: str
    config: TrainingConfig
    accuracy: float | None
    run_id: str


@dataclass(frozen=True)
class Search:
    """A finished search.

    Attributes:
        study: the study's name, with its control characters and line ends escaped, because anybody may have made it.
        run_id: the id of the search's run.
        space: the searched ranges, by hyperparameter.
        best: the best configuration, as it is retrained on all training images.
        best_accuracy: its accuracy on the validation images.
        trials: the trials that have a run of this study, by number.
        first: the baseline's configuration, as it is retrained on all training images.
        summary: a sentence about the study's trials and their cost.
        confirmation: a table of the best configurations with new seeds, in markdown.
        table: a table of all trials in markdown, including those that reused a run of another study.
        pictures: pictures of the study as PNG, by name.
    """

    study: str
    run_id: str
    space: Mapping[str, object]
    best: TrainingConfig
    best_accuracy: float
    trials: Sequence[Trial]
    first: TrainingConfig | None = None
    summary: str = ""
    confirmation: str = ""
    table: str = ""
    pictures: Mapping[str, bytes] = field(default_factory=dict)


class Runs:
    """The finished runs on a data set that have the hyperparameters of `base`, except those that a study varies.

    Studies vary the network, the learning rate, the epochs and the initialisation. If a configuration was trained
    several times, the run that ended last counts.

    Attributes:
        base: the data set and the hyperparameters of the report.
        digest: the digest of the data set; None if the store has no finished run on it.
    """

    def __init__(self, store: Store, base: TrainingConfig, data_dir: Path | None = None) -> None:
        """Find the digest of the data set: that of the latest finished run on a data set of this name.

        Args:
            store: the store of the runs.
            base: the data set and the hyperparameters of the report.
            data_dir: the folder of prepared data sets, needed only for runs without stored predictions.
        """
        self.base = base
        self._store = store
        self._data_dir = data_dir
        condition = (
            f"attributes.status = 'FINISHED' and params.dataset = '{base.dataset}' and params.dataset_digest LIKE '%'"
        )
        latest = next(store.search(condition, _LATEST_FIRST, page_size=1), None)
        self.digest = latest.parameters.get("dataset_digest") if latest else None
        self._histories: dict[tuple[str, str], Curve] = {}
        self._epochs: dict[str, float] = {}
        self._correct: dict[str, NDArray[np.bool_] | None] = {}
        self._known: dict[tuple[float, int], dict[TrainingConfig, dict[int, Measured]]] = {}

    @cached_property
    def other_data(self) -> bool:
        """Whether the store also has runs on other data of the same name; the report leaves them out."""
        condition = (
            f"attributes.status = 'FINISHED' and params.dataset = '{self.base.dataset}' "
            f"and params.dataset_digest != '{self.digest}'"
        )
        return next(self._store.search(condition, page_size=1), None) is not None

    def configurations(self) -> list[TrainingConfig]:
        """Return the configurations of all finished runs on these data, whatever their hyperparameters are."""
        condition = f"attributes.status = 'FINISHED' and params.dataset_digest = '{self.digest}'"
        found = (_measured(run) for run in self._store.search(condition))
        return [run.config for run in found if run is not None and not run.config.validation]

    def of(self, config: TrainingConfig) -> list[Measured]:
        """Return the runs of a network, one for each seed, in the order of seeds; empty if there are none."""
        key = (config.learning_rate, config.max_epoch)
        if key not in self._known:
            self._known[key] = self._read(*key)
        return list(self._known[key].get(_network(config), {}).values())

    def initialisations(self) -> list[float | str | tuple[float, ...]]:
        """Return all values of `init_std` in runs of the grid, except that of `base`: numbers, tuples, then rules."""
        self.of(self.base)
        grid = self._known[self.base.learning_rate, self.base.max_epoch]
        found = {config.init_std for config in grid if _alike(config, self.base)} - {self.base.init_std}
        kinds = (float, tuple, str)
        return [value for kind in kinds for value in sorted(each for each in found if isinstance(each, kind))]

    def of_other_sizes(self) -> list[TrainingConfig]:
        """Return the networks of the grid that have other sizes than the published ones, the smallest first."""
        self.of(self.base)
        grid = self._known[self.base.learning_rate, self.base.max_epoch]
        found = [
            config
            for config in grid
            if config.hidden_sizes not in PUBLISHED_SIZES.values()
            and config.init_std == self.base.init_std
            and _alike(config, self.base)
        ]
        return sorted(found, key=lambda config: (config.hidden_sizes, config.loss, config.activation))

    def correct(self, run: Measured) -> NDArray[np.bool_] | None:
        """Return (images,), whether a run's network classifies each test image right; None if this is unknown."""
        if run.run_id not in self._correct:
            predictions = kept(self._store, run.run_id, self._dataset)
            self._correct[run.run_id] = None if predictions is None else predictions.correct
        return self._correct[run.run_id]

    def _dataset(self) -> Dataset:
        """Load the data set of the runs.

        Raises:
            PipelineError: it is not in the data folder, or the data of this name are other ones.
        """
        if self._data_dir is None:
            raise PipelineError("no data folder was named")
        dataset = load(self.base.dataset, self._data_dir)
        if dataset.digest != self.digest:
            raise PipelineError(f"{self._data_dir} has other data named {self.base.dataset!r}")
        return dataset

    def curve(self, run: Measured, metric: str) -> Curve:
        """Return the points (epoch, value) of a metric such as "test/accuracy"."""
        if (run.run_id, metric) not in self._histories:
            points = self._store.history(run.run_id, metric)
            epochs = self._epochs_a_step(run)
            self._histories[run.run_id, metric] = [(point.step * epochs, point.value) for point in points]
        return self._histories[run.run_id, metric]

    def _epochs_a_step(self, run: Measured) -> float:
        """Return the part of an epoch that one mini-batch is; it is read once for all curves of a run."""
        if run.run_id not in self._epochs:
            last = max((point.step for point in self._store.history(run.run_id, "test_accuracy")), default=0)
            self._epochs[run.run_id] = run.config.max_epoch / last if last else 1.0
        return self._epochs[run.run_id]

    def _read(self, learning_rate: float, max_epoch: int) -> dict[TrainingConfig, dict[int, Measured]]:
        """Read the runs with this learning rate and number of epochs, by network and seed."""
        found: dict[TrainingConfig, dict[int, Measured]] = {}
        if self.digest is None:
            return found
        condition = (
            f"attributes.status = 'FINISHED' and params.dataset_digest = '{self.digest}' "
            f"and params.learning_rate = '{learning_rate}' and params.max_epoch = '{max_epoch}' "
            "and params.validation = 'False'"
        )
        for run in self._store.search(condition, _LATEST_FIRST):
            measured = _measured(run)
            if measured:
                of_network = found.setdefault(_network(measured.config), {})
                of_network.setdefault(measured.config.seed, measured)
        return {config: dict(sorted(seeds.items())) for config, seeds in found.items()}

    @cached_property
    def searches(self) -> list[Search]:
        """The finished searches on the data set; if a study has several, the one that ended last."""
        condition = (
            f"attributes.status = 'FINISHED' and tags.space LIKE '%' and params.dataset = '{self.base.dataset}' "
            "and params.best_trial LIKE '%'"
        )
        latest: dict[str, TrackedRun] = {}
        for run in self._store.search(condition, _LATEST_FIRST):
            latest.setdefault(run.tags.get("study", ""), run)
        found = (self._readable(name, run) for name, run in sorted(latest.items()))
        return [search for search in found if search]

    def _readable(self, name: str, run: TrackedRun) -> Search | None:
        """A search; None, with a warning, if its run holds what no search writes."""
        try:
            return self._search(name, run)
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            warn(f"The search {name!r} ({run.run_id}) cannot be read ({error!r:.200}); the report leaves it out.")
            return None

    def _search(self, name: str, run: TrackedRun) -> Search | None:
        trials = sorted(self._trials.get(name, ()), key=lambda trial: trial.number)
        number = int(run.parameters["best_trial"])
        of_trial = next((trial.config for trial in trials if trial.number == number), None)
        best = self._tagged(run, BEST_RUN_TAG) or of_trial
        first = self._tagged(run, BASELINE_RUN_TAG) or (trials[0].config if trials else None)
        if best is None:
            return None
        files = self._store.files(run.run_id)
        texts = {
            name: self._store.read_file(run.run_id, f"{name}.md").decode() if f"{name}.md" in files else ""
            for name in ("confirmation", "trials")
        }
        return Search(
            one_line(name),
            run.run_id,
            dict(json.loads(run.tags["space"])),
            replace(best, validation=False),
            run.metrics["best_validation_accuracy"],
            trials,
            first,
            run.description.partition("\n\n")[0],
            texts["confirmation"],
            texts["trials"],
            self._pictures(run),
        )

    def _tagged(self, run: TrackedRun, tag: str) -> TrainingConfig | None:
        """Return the configuration of the run whose id is in a tag of a search's run, or None without the tag."""
        found = self._store.find(run.tags[tag]) if tag in run.tags else None
        return self._on_these_data(found) if found else None

    def _on_these_data(self, run: TrackedRun) -> TrainingConfig | None:
        """Return a run's configuration; None if it names another data set, because commands repeat this free text."""
        config = _config(run)
        return config if config is not None and config.dataset == self.base.dataset else None

    def _pictures(self, run: TrackedRun) -> dict[str, bytes]:
        paths = [path for path in self._store.files(run.run_id, "analysis") if path.endswith(".png")]
        return {one_line(Path(path).stem): self._store.read_file(run.run_id, path) for path in paths}

    @cached_property
    def _trials(self) -> Mapping[str, Sequence[Trial]]:
        """The trials that studies on these data trained themselves, by study; read once, whatever a study is called."""
        condition = f"tags.study LIKE '%' and tags.trial LIKE '%' and params.dataset_digest = '{self.digest}'"
        found: defaultdict[str, list[Trial]] = defaultdict(list)
        for run in self._store.search(condition):
            if _NUMBER.fullmatch(run.tags["trial"]) and (config := self._on_these_data(run)) is not None:
                accuracy = run.metrics.get("validation_accuracy", run.metrics.get("validation/accuracy"))
                state = run.tags.get("trial_state", run.status).lower()
                number = int(run.tags["trial"])
                found[run.tags["study"]].append(Trial(number, state, config, accuracy, run.run_id))
        return found


def require(runs: Runs) -> None:
    """Refuse to report without runs.

    Raises:
        PipelineError: there are none; the message says how to make some.
    """
    if runs.digest is None:
        raise PipelineError(
            f"The experiment has no finished run on {runs.base.dataset!r}; make some with 'mlflow run . -e grid "
            f"-P dataset={runs.base.dataset}', or set MLFLOW_TRACKING_URI to the store that has them."
        )


def _measured(run: TrackedRun) -> Measured | None:
    """Read a run; return None if it is not a run of this project, or lacks a metric."""
    config = _config(run)
    if config is None or any(name not in run.metrics for name in FIGURES):
        return None
    figures = {name: run.metrics[name] for name in FIGURES}
    ended = run.end_time or run.start_time
    return Measured(run.run_id, config, figures, run.start_time, ended, _machine(run))


def _machine(run: TrackedRun) -> str:
    """Name processor and NumPy version of a run, as far as its tags have them."""
    processor, numpy = (run.tags.get(tag, "") for tag in (PROCESSOR_TAG, NUMPY_TAG))
    return " with NumPy ".join(each for each in (processor, numpy) if each)


def _config(run: TrackedRun) -> TrainingConfig | None:
    try:
        return TrainingConfig.from_parameters(run.parameters)
    except (KeyError, ValueError, UsageError):
        return None


def _network(config: TrainingConfig) -> TrainingConfig:
    return replace(config, **{name: getattr(TrainingConfig, name) for name in _NO_INFLUENCE})


def _alike(config: TrainingConfig, base: TrainingConfig) -> bool:
    """Whether a configuration differs from the base in nothing but what the studies vary."""
    return _network(config) == replace(_network(networks.of_base(base, config)), init_std=config.init_std)
