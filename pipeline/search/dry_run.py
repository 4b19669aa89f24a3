"""The dry run of a search: how many trials are left, and how long they take; nothing is created or trained."""

from dataclasses import replace
from pathlib import Path
from statistics import median

from pipeline.config import TrainingConfig
from pipeline.search.attributes import train_seconds
from pipeline.search.search import Plan
from pipeline.search.storage import Storage, storage_url
from pipeline.tracking.store import Store
from pipeline.training.cluster import worker_count
from pipeline.training.networks import Settings
from pipeline.training.plan import Planned, Step, duration, seconds


def describe_search(base: TrainingConfig, plan: Plan, settings: Settings) -> str:
    """Say how many trials of the study are finished, and how long the others will take.

    The estimate uses the times of the finished trials; if there are none, it uses earlier runs of the baseline.

    Args:
        base: the network, whose searched hyperparameters are the baseline.
        plan: the extent of the search.
        settings: where and how to train.
    """
    name = plan.study or f"{base.dataset} {base.network}"
    times = _finished(storage_url(plan.storage), name)
    left = max(plan.trials - len(times), 0)
    known = [time for time in times if time is not None]
    if known:
        total: float | None = left * median(known)
    else:
        baseline = Planned(replace(base, validation=True), Step.TRAIN, "", base.max_epoch)
        total = seconds(Store.open(), [baseline] * left)
    workers = min(worker_count(settings.workers), plan.lag)
    time = f"about {duration(total / workers)} at {workers} at once" if total else "no earlier run tells how long"
    rest = f"{left} trials are left: {time}." if left else "None is left."
    return (
        f"search {name}: nothing is trained, this is a dry run.\n\n{len(times)} of {plan.trials} trials are finished. "
        f"{rest} After them the {plan.confirm} best are confirmed, and the best and the baseline are tested."
    )


def _finished(url: str, name: str) -> list[float | None]:
    """Return the training time of each finished trial, None if it is unknown; an empty list without the study."""
    import optuna
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.drivername.startswith("sqlite") and parsed.database and not Path(parsed.database).exists():
        return []  # opening a missing file would create it
    storage = Storage.open(url)
    try:
        study = optuna.load_study(study_name=name, storage=storage.backend)
    except KeyError:
        return []
    trials = storage.call(lambda: study.get_trials(deepcopy=False))
    return [train_seconds(trial) for trial in trials if trial.state.is_finished()]
