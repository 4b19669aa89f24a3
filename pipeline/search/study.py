"""The study: its trials are given to processes, drawn, ended and resumed, using Optuna's public interface only.

A trial is created as late as possible, because the user may enqueue trials, which come first. A process that works on a
trial writes the id of its command's run on it. If that command dies, another one resumes the trial as it is. A trial's
parameters and its end depend only on earlier trials, so two commands that work on one trial write the same.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.search.attributes import OUTSIDE, OWNER, enqueued, outside, owner
from pipeline.search.pruning import Pruning
from pipeline.search.sampling import draw, is_ready, visible
from pipeline.search.space import Space
from pipeline.search.storage import Storage

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

DRAWN: Final = "drawn"
"""The attribute of a trial that the search created; the user enqueued the trials without it."""
DEFINITION: Final = "definition"
"""The attribute of a study that has its definition: the result of `Definition.as_attribute`."""


@dataclass(frozen=True)
class Definition:
    """Everything that decides the trials of a study, whichever process runs them.

    Attributes:
        base: the network. Its own values of the searched hyperparameters are the baseline, which is the first trial if
            the values are in the space.
        space: the searched hyperparameters.
        data: the digest of the data set.
        lag: trial n is drawn from, and pruned by, trials 0 to n - lag.
        seed: the seed of the draws.
    """

    base: TrainingConfig
    space: Space
    data: str
    lag: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a lag below 1."""
        if self.lag < 1:
            raise UsageError(f"lag is {self.lag}; it has to be a whole number from 1 up.")

    def as_attribute(self) -> dict[str, str]:
        """Return the definition as texts by name.

        Hyperparameters with default values are left out, so that a new hyperparameter does not change an old
        definition.
        """
        own = {"space": self.space, "lag": self.lag, "sampler_seed": self.seed, "data": self.data}
        network = {"dataset": self.base.dataset, **self.base.changes()}
        return {**network, **{name: str(value) for name, value in own.items()}}

    @classmethod
    def from_attribute(cls, attribute: Mapping[str, str]) -> "Definition":
        """Restore the definition from the result of `as_attribute`."""
        base, space = TrainingConfig.from_parameters(attribute), Space.parse(attribute["space"])
        return cls(base, space, attribute["data"], int(attribute["lag"]), int(attribute["sampler_seed"]))

    @property
    def warmup(self) -> int:
        """Epochs before the first pruning: half of the smallest `max_epoch` that a trial can have."""
        return min(config.max_epoch for config in self.space.extremes(self.base, "max_epoch")) // 2


@dataclass(frozen=True)
class Trial:
    """A trial for this process to train.

    Attributes:
        number: the trial's number in the study.
        config: the network.
        pruning: the pruner of the trial.
    """

    number: int
    config: TrainingConfig
    pruning: Pruning


@dataclass(frozen=True)
class End:
    """How a trial ended.

    Attributes:
        state: COMPLETE, PRUNED or FAIL, as in Optuna.
        value: the accuracy of a complete trial.
        values: the accuracies by epoch.
        attributes: further attributes for the trial in the study.
    """

    state: str
    value: float | None = None
    values: Mapping[int, float] | None = None
    attributes: Mapping[str, Any] | None = None


class Study:
    """An Optuna study whose trials this pipeline trains."""

    def __init__(self, storage: Storage, name: str, definition: Definition, *, trials: int, lock_dir: Path) -> None:
        """Create the study, or open it.

        Args:
            storage: the storage of the study.
            name: the study's name.
            definition: what decides the trials.
            trials: the number of trials that the study shall have in the end; if it has more, it keeps them.
            lock_dir: a folder that the processes of this machine share.

        Raises:
            UsageError: the study of this name has another definition; the study is not changed.
            PipelineError: the storage cannot be used.
        """
        from filelock import FileLock

        self.storage, self.name, self.definition, self.wanted = storage, name, definition, trials
        lock_dir.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(lock_dir / "study.lock")
        with self._lock:
            self.optuna = storage.call(self._open)
        self._id = storage.call(lambda: storage.backend.get_study_id_from_name(name))

    def _open(self) -> "optuna.Study":
        import optuna

        backend = self.storage.backend
        if self.name not in optuna.get_all_study_names(backend):
            study = optuna.create_study(
                study_name=self.name, storage=backend, direction="maximize", load_if_exists=True
            )
        else:
            study = optuna.load_study(study_name=self.name, storage=backend)
        check_study(study, self.definition)
        if DEFINITION not in study.user_attrs:
            study.set_user_attr(DEFINITION, self.definition.as_attribute())
        return study

    def trials(self) -> list["FrozenTrial"]:
        """Return the trials in the order of their numbers, without surplus ones.

        Two commands that create a trial at the same time can create one more than wanted; while it waits, it is left
        out.
        """
        trials = self.storage.call(lambda: self.optuna.get_trials(deepcopy=False))
        return trials[: self._goal(trials)]

    def config(self, trial: "FrozenTrial") -> TrainingConfig | None:
        """Return the network of a drawn trial; None if the user enqueued parameters that cannot be trained."""
        try:
            parameters = {**trial.params, **outside(trial)}
            return self.definition.space.configure(self.definition.base, parameters)
        except UsageError:
            return None

    def _goal(self, trials: "list[FrozenTrial]") -> int:
        from optuna.trial import TrialState

        kept = [trial.number for trial in trials if trial.state != TrialState.WAITING or DRAWN not in trial.user_attrs]
        return max(self.wanted, max(kept, default=-1) + 1)

    def unfinished(self) -> int:
        """Count the trials that are not finished yet."""
        trials = self.trials()
        return self._goal(trials) - sum(trial.state.is_finished() for trial in trials)

    def summary(self) -> str:
        """Say in a sentence how many trials are finished."""
        trials = self.trials()
        states = [trial.state.name.lower() for trial in trials]
        counts = {state: states.count(state) for state in ("complete", "pruned", "fail")}
        by_state = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        finished = sum(counts.values())
        return f"The study {self.name!r} has {finished} of {self._goal(trials)} trials finished ({by_state or 'none'})."

    def take(self, command: str, *, mine: "set[int]", is_alive: Callable[[str], bool]) -> Trial | None:
        """Choose the next trial for this process to train, and mark it as taken.

        Args:
            command: the id of this command's run.
            mine: the numbers of the trials that this process already has.
            is_alive: returns whether the command with this run is alive.

        Returns:
            The trial of a dead command, or else a waiting one, or else a new one; None if none can start now.
        """
        with self._lock:
            while True:
                trials = self.trials()
                ready = [trial for trial in trials if is_ready(trials, trial.number, self.definition.lag)]
                found = next(
                    (each for each in ready if each.number not in mine and self._acquire(each, command, is_alive)), None
                )
                if found is not None:
                    parameters = self._draw(trials, found)
                    if (trial := self._assigned(trials, found, parameters)) is not None:
                        return trial
                elif self._may_create(trials):
                    self.storage.call(self._create)
                else:
                    return None

    def _may_create(self, trials: "list[FrozenTrial]") -> bool:
        number = len(trials)
        return number < self._goal(trials) and is_ready(trials, number, self.definition.lag)

    def _create(self) -> None:
        from optuna.trial import TrialState, create_trial

        self.optuna.add_trial(create_trial(state=TrialState.WAITING, user_attrs={DRAWN: True}))

    def _acquire(self, trial: "FrozenTrial", command: str, is_alive: Callable[[str], bool]) -> bool:
        """Write `command` on a trial that nobody works on; return whether this succeeded."""
        from optuna.trial import TrialState

        before = owner(trial)
        if trial.state.is_finished():
            return False
        if trial.state == TrialState.RUNNING and before not in {None, command} and is_alive(before):
            return False
        number = self._trial_id(trial.number)
        backend = self.storage.backend
        self.storage.call(lambda: backend.set_trial_user_attr(number, OWNER, command))  # first: none runs without it
        if trial.state == TrialState.RUNNING:
            return True
        if not self.storage.call(lambda: backend.set_trial_state_values(number, TrialState.RUNNING)):
            return False  # another machine was faster
        self.storage.call(lambda: backend.set_trial_user_attr(number, OWNER, command))
        return True

    def _draw(self, trials: "list[FrozenTrial]", trial: "FrozenTrial") -> dict[str, Any]:
        """Draw a trial's parameters and store them in it; parameters that the user enqueued take precedence."""
        space, number = self.definition.space, trial.number
        parameters = space.of(self.definition.base)
        if number > 0 or not space.holds(parameters):
            seen = visible(trials, number, self.definition.lag, space)
            parameters = draw(space, seen, seed=self.definition.seed, number=number)
        parameters |= enqueued(trial)
        self.storage.call(lambda: self._write(trial, parameters))
        return parameters

    def _assigned(
        self, trials: "list[FrozenTrial]", trial: "FrozenTrial", parameters: Mapping[str, Any]
    ) -> Trial | None:
        """Add network and pruner to a trial; if it cannot be trained, end it as failed and return None."""
        definition, number = self.definition, trial.number
        try:
            config = definition.space.configure(definition.base, parameters)
        except UsageError as error:
            self.finish(number, End("FAIL", attributes={"reason": str(error)}))
            return None
        seen = visible(trials, number, definition.lag, definition.space)
        return Trial(number, config, Pruning(seen, definition.warmup, config.max_epoch))

    def _write(self, trial: "FrozenTrial", parameters: Mapping[str, Any]) -> None:
        backend, space = self.storage.backend, self.definition.space
        trial_id = self._trial_id(trial.number)
        for name, distribution in space.distributions.items():
            if name not in trial.params and space.holds({name: parameters[name]}):
                internal = distribution.to_internal_repr(parameters[name])
                backend.set_trial_param(trial_id, name, internal, distribution)
        others = {name: value for name, value in parameters.items() if not space.holds({name: value})}
        if others and not outside(trial):
            backend.set_trial_user_attr(trial_id, OUTSIDE, others)

    def note(self, number: int, epoch: int, accuracy: float) -> None:
        """Store an evaluation of a running trial for people who watch it; it may fail, as `finish` repeats it."""
        with suppress(Exception):
            self.storage.backend.set_trial_intermediate_value(self._trial_id(number), epoch, accuracy)

    def finish(self, number: int, end: End) -> None:
        """End a trial, unless another command has ended it."""
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):
            self.storage.call(lambda: self._finish(number, end))

    def _finish(self, number: int, end: End) -> None:
        from optuna.trial import TrialState

        backend, trial_id = self.storage.backend, self._trial_id(number)
        known = backend.get_trial(trial_id)
        if known.state.is_finished():
            return
        for epoch, accuracy in (end.values or {}).items():
            if known.intermediate_values.get(epoch) != accuracy:
                backend.set_trial_intermediate_value(trial_id, epoch, accuracy)
        for name, value in (end.attributes or {}).items():
            backend.set_trial_user_attr(trial_id, name, value)
        state = None if end.value is not None else TrialState[end.state]
        self.optuna.tell(number, end.value, state=state, skip_if_finished=True)

    def _trial_id(self, number: int) -> int:
        backend = self.storage.backend
        return int(self.storage.call(lambda: backend.get_trial_id_from_study_id_trial_number(self._id, number)))


def check_study(study: "optuna.Study", definition: Definition) -> None:
    """Refuse a study with another definition, or one that no search of this pipeline made.

    Raises:
        UsageError: the study cannot be used; the message says in what it differs.
    """
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    name = f"The study {study.study_name!r}"
    if len(study.directions) > 1:
        raise UsageError(
            f"{name} has {len(study.directions)} objectives; a search has one, the validation accuracy. {_ANOTHER}"
        )
    if study.direction != StudyDirection.MAXIMIZE:
        raise UsageError(f"{name} minimises its objective; a search maximises the validation accuracy. {_ANOTHER}")
    trials = study.get_trials(deepcopy=False)
    known = study.user_attrs.get(DEFINITION)
    if known is None and any(trial.state != TrialState.WAITING for trial in trials):
        raise UsageError(f"{name} has {len(trials)} trials that no search of this pipeline made. {_ANOTHER}")
    here = definition.as_attribute()
    keys = dict.fromkeys([*here, *(known if isinstance(known, dict) else ())])
    differing = [key for key in keys if _shown(known, key) != _shown(here, key)]
    if known is not None and differing:
        differs = "; ".join(f"{key} is {_shown(known, key)} there and {_shown(here, key)} here" for key in differing)
        raise UsageError(f"{name} searches something else: {differs}. {_ANOTHER}")
    _check_distributions(name, trials, definition.space)


def _shown(definition: Any, key: str) -> str:
    """Format a value of a definition for messages; a hyperparameter that is missing there has its default."""
    values = {**TrainingConfig().parameters(), **(definition if isinstance(definition, dict) else {})}
    return repr(values.get(key, "not given"))


def _check_distributions(name: str, trials: "list[FrozenTrial]", space: Space) -> None:
    from optuna.distributions import check_distribution_compatibility

    for trial in trials:
        for parameter, distribution in trial.distributions.items():
            if parameter not in space.distributions:
                continue
            try:
                check_distribution_compatibility(space.distributions[parameter], distribution)
            except ValueError:
                raise UsageError(
                    f"{name} has {parameter} as {distribution} in trial {trial.number}, which does not go with "
                    f"{parameter}={space.values[parameter]}. {_ANOTHER}"
                ) from None


_ANOTHER: Final = "Choose another study name."
