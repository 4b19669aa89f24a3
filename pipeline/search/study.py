"""The study: its trials handed out to processes, drawn, ended and resumed, through Optuna's public interface alone.

A trial is created when its turn comes, because the user may enqueue trials of their own, which come first. Whoever
works on a trial writes the id of its command's run on it; the trial of a dead command is taken up as it was. Since a
trial's parameters and its end follow from the earlier trials, two commands that work on one trial write the same.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.search.pruning import Pruning
from pipeline.search.sampling import OUTSIDE, draw, is_ready, visible
from pipeline.search.space import Space
from pipeline.search.storage import Storage

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

DRAWN: Final = "drawn"
"""The attribute of a trial that the search made; one without it was enqueued by the user."""
_OWNER: Final = "search_run"
DEFINITION: Final = "definition"
"""The attribute of a study that says what it is: `Definition.as_attribute`."""
_FIXED: Final = "fixed_params"  # under which Optuna keeps what the user enqueued


@dataclass(frozen=True)
class Definition:
    """All that decides a study's trials, whoever runs them.

    Attributes:
        base: the network; its searched hyperparameters are the baseline, the first trial if the space has them.
        space: what is searched.
        data: the digest of the data set.
        lag: trial n is drawn from, and pruned by, trials 0 to n - lag.
        seed: of the draws.
    """

    base: TrainingConfig
    space: Space
    data: str
    lag: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a lag that no trial can have."""
        if self.lag < 1:
            raise UsageError(f"lag is {self.lag}; it has to be a whole number from 1 up.")

    def as_attribute(self) -> dict[str, str]:
        """The definition as a study keeps it: of the network what is not at its default, as new fields are not."""
        own = {"space": self.space, "lag": self.lag, "sampler_seed": self.seed, "data": self.data}
        network = {"dataset": self.base.dataset, **self.base.changes()}
        return {**network, **{name: str(value) for name, value in own.items()}}

    @classmethod
    def from_attribute(cls, attribute: Mapping[str, str]) -> "Definition":
        """The definition that `as_attribute` made an attribute."""
        base, space = TrainingConfig.from_parameters(attribute), Space.parse(attribute["space"])
        return cls(base, space, attribute["data"], int(attribute["lag"]), int(attribute["sampler_seed"]))

    @property
    def warmup(self) -> int:
        """Epochs before the first pruning: half of the fewest that a trial can have."""
        return min(config.max_epoch for config in self.space.extremes(self.base, "max_epoch")) // 2


@dataclass(frozen=True)
class Trial:
    """A trial that this process is to train.

    Attributes:
        number: in the study.
        config: the network.
        pruning: its pruner.
    """

    number: int
    config: TrainingConfig
    pruning: Pruning


@dataclass(frozen=True)
class End:
    """How a trial ended.

    Attributes:
        state: COMPLETE, PRUNED or FAIL, as Optuna names them.
        value: of a complete trial.
        values: its accuracies by epoch.
        attributes: what the study keeps of it besides.
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
            storage: that holds it.
            name: of the study.
            definition: what its trials are.
            trials: how many it shall have in the end; a study that has more keeps them.
            lock_dir: a folder that the processes of this machine share.

        Raises:
            UsageError: if the study of that name is not one of this definition; nothing is changed then.
            PipelineError: if the storage cannot be used.
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
        """Every trial that counts, by number; not one that waits beyond those wanted, left by two creations at once."""
        trials = self.storage.call(lambda: self.optuna.get_trials(deepcopy=False))
        return trials[: self._goal(trials)]

    def config(self, trial: "FrozenTrial") -> TrainingConfig | None:
        """The network of a trial that was drawn; None where the user enqueued what cannot be trained."""
        try:
            parameters = {**trial.params, **trial.user_attrs.get(OUTSIDE, {})}
            return self.definition.space.configure(self.definition.base, parameters)
        except UsageError:
            return None

    def _goal(self, trials: "list[FrozenTrial]") -> int:
        from optuna.trial import TrialState

        kept = [trial.number for trial in trials if trial.state != TrialState.WAITING or DRAWN not in trial.user_attrs]
        return max(self.wanted, max(kept, default=-1) + 1)

    def unfinished(self) -> int:
        """How many trials are still to finish."""
        trials = self.trials()
        return self._goal(trials) - sum(trial.state.is_finished() for trial in trials)

    def summary(self) -> str:
        """How far the study is, in a sentence."""
        trials = self.trials()
        states = [trial.state.name.lower() for trial in trials]
        counts = {state: states.count(state) for state in ("complete", "pruned", "fail")}
        by_state = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        finished = sum(counts.values())
        return f"The study {self.name!r} has {finished} of {self._goal(trials)} trials finished ({by_state or 'none'})."

    def take(self, owner: str, *, mine: "set[int]", is_alive: Callable[[str], bool]) -> Trial | None:
        """Become the one who trains the next trial that may start.

        Args:
            owner: the run of this command.
            mine: the numbers of the trials that this process has.
            is_alive: whether the command with this run lives.

        Returns:
            The trial of a dead command, else one that waits, else a new one; None where none may start now.
        """
        with self._lock:
            while True:
                trials = self.trials()
                ready = [trial for trial in trials if is_ready(trials, trial.number, self.definition.lag)]
                found = next(
                    (each for each in ready if each.number not in mine and self._acquire(each, owner, is_alive)), None
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

    def _acquire(self, trial: "FrozenTrial", owner: str, is_alive: Callable[[str], bool]) -> bool:
        """Write `owner` on a trial that nobody works on; whether it could be had."""
        from optuna.trial import TrialState

        before = trial.user_attrs.get(_OWNER)
        if trial.state.is_finished():
            return False
        if trial.state == TrialState.RUNNING and before not in {None, owner} and is_alive(before):
            return False
        number = self._trial_id(trial.number)
        backend = self.storage.backend
        self.storage.call(lambda: backend.set_trial_user_attr(number, _OWNER, owner))  # first: none runs without it
        if trial.state == TrialState.RUNNING:
            return True
        if not self.storage.call(lambda: backend.set_trial_state_values(number, TrialState.RUNNING)):
            return False  # another machine was faster
        self.storage.call(lambda: backend.set_trial_user_attr(number, _OWNER, owner))
        return True

    def _draw(self, trials: "list[FrozenTrial]", trial: "FrozenTrial") -> dict[str, Any]:
        """Draw a trial's parameters, except those that the user enqueued, and write them on it."""
        space, number = self.definition.space, trial.number
        parameters = space.of(self.definition.base)
        if number > 0 or not space.holds(parameters):
            seen = visible(trials, number, self.definition.lag, space)
            parameters = draw(space, seen, seed=self.definition.seed, number=number)
        parameters |= trial.system_attrs.get(_FIXED, {})
        self.storage.call(lambda: self._write(trial, parameters))
        return parameters

    def _assigned(
        self, trials: "list[FrozenTrial]", trial: "FrozenTrial", parameters: Mapping[str, Any]
    ) -> Trial | None:
        """The trial with its network and its pruner; one that cannot be trained is failed, and None."""
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
        outside = {name: value for name, value in parameters.items() if not space.holds({name: value})}
        if outside and OUTSIDE not in trial.user_attrs:
            backend.set_trial_user_attr(trial_id, OUTSIDE, outside)

    def note(self, number: int, epoch: int, accuracy: float) -> None:
        """Write an evaluation of a running trial, for those who watch; `finish` writes it again, so it may fail."""
        with suppress(Exception):
            self.storage.backend.set_trial_intermediate_value(self._trial_id(number), epoch, accuracy)

    def finish(self, number: int, end: End) -> None:
        """End a trial if no other command has ended it."""
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
    """Refuse a study that is not one of this definition.

    Raises:
        UsageError: saying what it is instead.
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
    """A value of a definition as messages show it; a hyperparameter that is not there has its default."""
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
