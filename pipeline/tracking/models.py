"""Logged models and MLflow's model registry, in which the best network gets a name.

The alias `champion` marks the best version: `models:/NAME@champion`. Another version gets the alias only if its
accuracy on the same data is higher.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.errors import PipelineError, UsageError, first_line
from pipeline.output import one_line
from pipeline.tracking.artifacts import has_model
from pipeline.tracking.faults import translated
from pipeline.tracking.store import Store
from pipeline.training.task import Outcome, accuracy, evaluation_split

CHAMPION: Final = "champion"
_VERSIONS_TAG: Final = "mlflow.modelVersions"
"""The tag from which MLflow's list of models shows the registered versions."""


class ModelVersion(NamedTuple):
    """A version of a registered model."""

    version: str
    run_id: str
    tags: Mapping[str, str]


class ServedModel:
    """A stored network, loaded by `mlflow.pyfunc` as other programs load it.

    Attributes:
        model_id: the model's id in MLflow.
        image_shape: rows and columns of the images that the network takes.
    """

    def __init__(self, model: Any) -> None:
        """Wrap the result of `mlflow.pyfunc.load_model`."""
        rows, columns = model.model_config["image_shape"]
        self.image_shape = (int(rows), int(columns))
        self.model_id = str(model.model_id)
        self._model = model

    def predict(self, images: Any) -> tuple[list[int], list[list[float]]]:
        """Return the class of each image, and for each image the scores of all classes.

        Raises:
            PipelineError: the images have another shape, type or range; the message names the expected ones.
        """
        from mlflow.exceptions import MlflowException

        try:
            answers = self._model.predict(images)
        except MlflowException as error:
            raise PipelineError(first_line(error)) from error
        return answers["class"].tolist(), answers["scores"].tolist()


def load_served(uri: str) -> "ServedModel":
    """Load the model at a URI of MLflow; `runs:/RUN/model` finds the model of the run, whatever the model's name is.

    Raises:
        PipelineError: there is no such model, or it is not a model of this project.
    """
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    accepted = "it has to be runs:/RUN/model, models:/NAME/VERSION or models:/NAME@champion"
    try:
        with translated():
            model = mlflow.pyfunc.load_model(_by_id(uri))
    except (MlflowException, OSError) as error:
        raise PipelineError(f"model is {uri!r}, which cannot be had ({first_line(error)}); {accepted}.") from error
    if "image_shape" not in model.model_config:
        raise PipelineError(f"model is {uri!r}, which is not one of this project's; {accepted}.")
    return ServedModel(model)


def _by_id(uri: str) -> str:
    """Replace `runs:/RUN/model` by the model's id, because the model has the name of its network."""
    from mlflow import MlflowClient

    own = re.fullmatch(r"runs:/(\w+)/model", uri)
    outputs = MlflowClient().get_run(own[1]).outputs if own else None
    models = outputs.model_outputs if outputs else []
    return f"models:/{models[0].model_id}" if models else uri


def model_version(store: Store, name: str, alias: str) -> ModelVersion | None:
    """Return the version of a registered model that has the alias, or None."""
    model = _registered(store, name)
    if model is None or alias not in model.aliases:
        return None
    found = store.call("get_model_version", name, str(model.aliases[alias]))
    return ModelVersion(str(found.version), found.run_id, dict(found.tags))


def check_name(name: str | None) -> None:
    """Refuse a name that MLflow's registry does not accept, before any work is done.

    Raises:
        UsageError: the name is not accepted; the message says what is.
    """
    if name is not None and not re.fullmatch(r"\w[\w. -]*", name):
        raise UsageError(f"register is {name!r}; a name has to be of letters, digits, spaces, ., - and _.")


def register_best(store: Store, name: str, outcomes: Sequence[Outcome]) -> str:
    """Register the finished network with the highest accuracy on its evaluation split.

    Returns:
        A sentence in markdown that says what happened.

    Example:
        >>> register_best(store, "digits", outcomes)
        '`gelu-hinge-2h` is version 1 of the registered model `digits` and its champion: ...'
    """
    best = max(outcomes, key=accuracy)
    return register(store, name, best, f"{evaluation_split(best.config)}_accuracy", accuracy(best))


def register(store: Store, name: str, outcome: Outcome, measure: str, value: float) -> str:
    """Register a finished network; it becomes the champion if there is none, or a worse one on the same data.

    Args:
        store: the store of the network's run.
        name: the name of the registered model.
        outcome: the outcome of the network.
        measure: the metric that networks are compared by: "validation_accuracy" or "test_accuracy".
        value: the network's value of this metric.

    Returns:
        A sentence in markdown that says what happened.

    Raises:
        PipelineError: the run has no model.
    """
    run = store.get(str(outcome.run_id))
    tags = {"dataset_digest": run.parameters["dataset_digest"], "measure": measure, "value": repr(value)}
    before = model_version(store, name, CHAMPION)
    version = _register_version(store, name, run.run_id, tags)
    sentence = f"`{one_line(run.name)}` is version {version} of the registered model `{name}`"
    metric = f"{measure.replace('_', ' ')} {value:.2%}{_caveat(measure)}"
    if before is None:
        _set_alias(store, name, CHAMPION, version)
        return f"{sentence} and its champion: {metric}."
    if before.version == version:
        return f"{sentence} and still its champion: {metric}."
    kept = f"{sentence}, with {metric}; the champion is still version {before.version}"
    for tag, meaning in (("dataset_digest", "other data"), ("measure", "another measure")):
        if before.tags.get(tag) != tags[tag]:
            theirs = one_line(str(before.tags.get(tag)))
            return f"{kept}, chosen on {meaning} ({theirs}): register under another name to compare."
    former = _number(before.tags.get("value"))
    if former is not None and value <= former:
        return f"{kept}, with {former:.2%}."
    _set_alias(store, name, CHAMPION, version)
    of_former = "an unknown one" if former is None else f"{former:.2%}"
    return f"{sentence} and its new champion: {metric}, before it {of_former} of version {before.version}."


def _caveat(measure: str) -> str:
    """Add a remark to a test accuracy that chose the network, because such an accuracy is a little too high."""
    return "" if measure.startswith("validation") else " (chosen by the test images, so a little flattered by them)"


def _register_version(store: Store, name: str, run_id: str, tags: Mapping[str, str]) -> str:
    """Make a run's model a version of the registered model `name`, unless it is one already; return the version.

    Raises:
        PipelineError: the run has no model.
    """
    if _registered(store, name) is None:
        store.call("create_registered_model", name)
    [*known] = store.call("search_model_versions", f"name = '{name}' and run_id = '{run_id}'")
    if known:
        return str(known[0].version)
    model = next((model for model in store.models(run_id) if model.status == "READY"), None)
    if model is None:
        raise PipelineError(f"Run {run_id} has no model to register; train it again with -P force=true.")
    if not has_model(store, model.model_id):
        raise PipelineError(
            f"The model of run {run_id} is no longer in {model.artifact_location}; train the network again with "
            "--force (-P force=true)."
        )
    source = f"models:/{model.model_id}"
    made = store.call("create_model_version", name, source, run_id=run_id, tags=dict(tags), model_id=model.model_id)
    _note_version(store, model.model_id, name, str(made.version))
    return str(made.version)


def _note_version(store: Store, model_id: str, name: str, version: str) -> None:
    """Tag the model with its registered version, because MLflow does so only on a server."""
    known = _versions_in(store.call("get_logged_model", model_id).tags.get(_VERSIONS_TAG, "[]"))
    entry = {"name": name, "version": version}
    if all(str(each.get("version")) != version or each.get("name") != name for each in known):
        store.call("set_logged_model_tags", model_id, {_VERSIONS_TAG: json.dumps([*known, entry])})


def _versions_in(text: str) -> list[dict[str, Any]]:
    """The versions in a model's tag, which anybody may have written."""
    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in known if isinstance(each, dict)] if isinstance(known, list) else []


def _number(text: str | None) -> float | None:
    """The value in a champion's tag, which anybody may have written; None if it is not a number."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _set_alias(store: Store, name: str, alias: str, version: str) -> None:
    """Point an alias of a registered model to a version."""
    store.call("set_registered_model_alias", name, alias, version)


def _registered(store: Store, name: str) -> Any:
    return next(iter(store.call("search_registered_models", f"name = '{name}'")), None)
