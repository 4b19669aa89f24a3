"""The whole reproduction, step by step under one run; each step reuses what is finished."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline import commands, experiments
from pipeline.commands import Settings
from pipeline.config import HIDDEN_SIZES, TrainingConfig
from pipeline.experiments import WEAK_NETWORK
from pipeline.search.search import Space, search
from pipeline.tracking.store import Store


def reproduce(
    base: TrainingConfig,
    settings: Settings,
    parameters: Mapping[str, str],
    *,
    seeds: Sequence[int],
    trials: int,
    output: Path,
) -> None:
    """Prepare the data, train grid and studies, search, report.

    Args:
        base: names the data set and the hyperparameters.
        settings: where and how.
        parameters: of the command, for its run.
        seeds: each network of grid and studies once a seed.
        trials: of the search.
        output: folder of the report.
    """
    told = {**base.parameters(), "seeds": ",".join(map(str, seeds))}
    with Store.open().parent(f"reproduction {base.dataset}", parameters) as run:
        within = run.run_id
        commands.prepare(base.dataset, settings, {"dataset": base.dataset}, within)
        networks = experiments.grid(
            base, hidden_layers=HIDDEN_SIZES, activations=ACTIVATIONS, losses=LOSSES, seeds=seeds
        )
        commands.train_all("grid", networks, settings, told, within=within)
        commands.train_all("sweep", experiments.sweep(base, seeds=seeds), settings, told, within=within)
        named = ("hidden_layers", "activation", "loss")
        weak = replace(base, **{name: getattr(WEAK_NETWORK, name) for name in named})
        searched = {**told, "trials": str(trials)}
        search(weak, Space(), settings, searched, trials=trials, within=within)
        commands.report(base, output, {"dataset": base.dataset}, within)
        run.describe("Every step of the reproduction is folded under this run; the last one, the report, has it all.")
