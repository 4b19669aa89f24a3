"""Estimates of trainings decide their order and the time that a dry run gives."""

from dataclasses import replace

import pytest

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import PUBLISHED_SIZES, TrainingConfig
from pipeline.experiments import grid
from pipeline.tracking.acquisition import create
from pipeline.tracking.store import Point, TrackedRun
from pipeline.training import networks
from pipeline.training.estimate import Estimate, relative_cost
from pipeline.training.networks import prepared, run_networks
from pipeline.training.plan import Planned, Step, seconds
from pipeline.training.task import Outcome, Status

BASE = TrainingConfig()
PUBLISHED = grid(BASE, hidden_sizes=PUBLISHED_SIZES.values(), activations=ACTIVATIONS, losses=LOSSES, seeds=[0])


def run(config, train_seconds, **parameters):
    return TrackedRun("id", config.name, "FINISHED", {**config.parameters(), **parameters},
                      {"train_seconds": train_seconds}, {}, 0, 1)  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [{"activation": "gelu"}, {"activation": "sigmoid"}, {"loss": "hinge"}, {"hidden_sizes": (256, 64)},
     {"hidden_sizes": (129,)}, {"max_epoch": 201}, {"batch_size": 50}],
    ids=str,
)  # fmt: skip
def test_each_thing_that_takes_longer_costs_more(more):
    assert relative_cost(replace(BASE, **more)) > relative_cost(BASE)


def test_held_out_images_are_not_trained_on():
    assert relative_cost(replace(BASE, validation=True)) == pytest.approx(relative_cost(BASE) * 5 / 6)


def test_an_activation_or_loss_that_the_table_lacks_counts_as_the_first(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "new", ACTIVATIONS["relu"])
    assert relative_cost(replace(BASE, activation="new")) == relative_cost(BASE)


def test_runs_of_the_same_network_count_before_others_of_its_data_and_those_before_all():
    gelu, hinge, digits = replace(BASE, activation="gelu"), replace(BASE, loss="hinge"), replace(BASE, dataset="digits")
    estimate = Estimate([run(BASE, 10.0), run(gelu, 90.0), run(gelu, 100.0), run(gelu, 200.0)])
    assert estimate.is_measured
    assert estimate.of(BASE) == pytest.approx(10)
    assert estimate.of(replace(gelu, seed=3, max_epoch=100)) == pytest.approx(50)
    [only] = [Estimate([run(BASE, 10.0), run(digits, 1.0)]).of(each) for each in [hinge]]
    assert only == pytest.approx(10 * relative_cost(hinge) / relative_cost(BASE))
    assert Estimate([run(digits, 1.0)]).of(BASE) == pytest.approx(1.0)


def test_runs_of_other_projects_are_passed_over():
    estimate = Estimate([run(BASE, 10.0, max_epoch="many"), run(BASE, 10.0, activation="tanhish")])
    assert not estimate.is_measured
    assert estimate.of(BASE) == relative_cost(BASE)


def ended(costs, workers):
    """When the last of tasks ends that workers take in their order."""
    free = [0.0] * workers
    for cost in costs:
        free[free.index(min(free))] += cost
    return max(free)


def test_two_workers_take_hardly_more_than_half_the_time_over_the_grid():
    costs = sorted(map(relative_cost, PUBLISHED), reverse=True)
    assert sum(costs) / ended(costs, 2) > 1.95
    assert sum(costs) / ended(sorted(costs), 2) < sum(costs) / ended(costs, 2)


@pytest.fixture
def begun(monkeypatch, settings, store):
    """Order and costs with which networks are begun; none is trained."""

    def ask(configs):
        order, shown = [], {}

        def run_tasks(tasks, **_):
            order.extend(task.config for task in tasks)
            yield from (Outcome(task.config, Status.FAILED, reason="not trained") for task in tasks)

        real = networks.progress

        def progress(title, costs, *, quiet):
            shown.update(costs)
            return real(title, costs, quiet=quiet)

        monkeypatch.setattr(networks, "run_tasks", run_tasks)
        monkeypatch.setattr(networks, "progress", progress)
        dataset = prepared("digits", settings)
        run_networks(store, create(store, "grid digits", {}), configs, dataset, settings, title="grid")
        return order, shown

    return ask


def test_the_longest_is_begun_first(begun):
    relu, gelu, deep = (replace(BASE, dataset="digits", **more) for more in
                        ({}, {"activation": "gelu"}, {"hidden_sizes": (256, 64)}))  # fmt: skip
    order, costs = begun([relu, gelu, deep])
    assert order == [deep, gelu, relu]
    assert list(costs.values()) == [relative_cost(each) for each in order]


def test_what_earlier_runs_took_decides_the_order_and_the_dry_run_gives_the_same_time(begun, store):
    relu, gelu = (replace(BASE, dataset="digits", activation=name) for name in ("relu", "gelu"))
    for config, took in ((relu, 30.0), (gelu, 20.0)):
        owned = create(store, config.name, {})
        owned.log_parameters(config.parameters())
        owned.send([Point("train_seconds", took, 0, 1)])
        owned.end("FINISHED")
    seeds = [replace(gelu, seed=1), replace(relu, seed=1)]
    order, costs = begun(seeds)
    assert order == seeds[::-1]
    assert list(costs.values()) == [pytest.approx(30), pytest.approx(20)]
    planned = [Planned(config, Step.TRAIN, "", config.max_epoch) for config in seeds]
    assert seconds(store, planned) == pytest.approx(sum(costs.values()))
