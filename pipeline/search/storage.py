"""Optuna's storage: its address without a password, one connection for each process."""

import os
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pipeline.errors import UsageError
from pipeline.log import is_verbose
from pipeline.tracking.connection import without_password

if TYPE_CHECKING:
    import optuna

DEFAULT_STORAGE: Final = "sqlite:///optuna.db"


def storage_url(given: str | None) -> str:
    """The URL of the storage; a file's path in it made absolute, for processes with other working folders.

    Raises:
        UsageError: for a password in a parameter.
    """
    if given and urlsplit(given).password:
        raise UsageError(
            f"storage is {without_password(given)!r}, with a password, which MLflow would record; "
            "set it as OPTUNA_STORAGE instead."
        )
    url = given or os.environ.get("OPTUNA_STORAGE") or DEFAULT_STORAGE
    prefix = "sqlite:///"
    return f"{prefix}{Path(url.removeprefix(prefix)).resolve()}" if url.startswith(prefix) else url


@cache
def open_storage(url: str) -> "optuna.storages.BaseStorage":
    """This process's connection to an Optuna storage."""
    import optuna

    if not is_verbose():
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    return optuna.storages.RDBStorage(url, engine_kwargs=wait)


@cache
def load_study(url: str, name: str) -> "optuna.Study":
    """This process's view of a study; its pruner watches the validation accuracy at equal epochs."""
    import optuna

    storage = open_storage(url)
    low = storage.get_study_user_attrs(storage.get_study_id_from_name(name))["definition"]["max_epoch"][0]
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=low // 2)
    return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
