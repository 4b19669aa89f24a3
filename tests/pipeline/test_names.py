"""What runs are called."""

from dataclasses import replace

import pytest

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import PUBLISHED_SIZES, TrainingConfig
from pipeline.experiments import grid, sweep
from pipeline.names import network_names, parent_name, shared_settings, trial_name

BASE = TrainingConfig(dataset="digits", learning_rate=0.1, max_epoch=50, init_std="he", disp_freq=5)


def named(configs):
    return list(network_names(configs).values())


def test_the_networks_of_a_grid_are_called_by_the_network_alone():
    networks = grid(BASE, hidden_sizes=PUBLISHED_SIZES.values(), activations=ACTIVATIONS, losses=LOSSES, seeds=[0])
    assert named(networks) == [config.network for config in networks]
    assert max(map(len, named(networks))) == len("sigmoid-softmax_cross_entropy-1h")


def test_what_differs_is_said_and_what_is_shared_stands_in_the_parents_name():
    networks = [replace(BASE, seed=seed) for seed in (0, 1)]
    assert named(networks) == ["relu-euclidean-1h seed 0", "relu-euclidean-1h seed 1"]
    assert parent_name("grid", networks) == "grid digits, lr 0.1, he, 50 epochs"


def test_the_published_studies_say_learning_rate_and_epochs():
    assert named(sweep(TrainingConfig()))[:2] == [
        "sigmoid-euclidean-1h lr 0.003 400 epochs",
        "sigmoid-euclidean-1h lr 0.01 200 epochs",
    ]
    assert parent_name("sweep", sweep(TrainingConfig())) == "sweep mnist"


def test_floats_have_three_digits_unless_two_networks_would_share_a_name():
    drawn = [replace(BASE, learning_rate=rate) for rate in (0.018451617960165857, 0.2)]
    assert named(drawn)[0] == "relu-euclidean-1h lr 0.0185"
    close = [*drawn, replace(BASE, learning_rate=0.01845)]
    assert len(set(named(close))) == 3
    assert named(close)[0] == "relu-euclidean-1h lr 0.018451617960165857"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("weight_decay", 1e-4, "weight decay 0.0001"),
        ("momentum", 0.9, "momentum 0.9"),
        ("batch_size", 50, "batch 50"),
        ("max_epoch", 1, "1 epoch"),
        ("init_std", 0.02, "init 0.02"),
        ("init_std", (0.05, 0.15), "init 0.05/0.15"),
        ("init_std", "xavier", "xavier"),
        ("hinge_margin", 2.0, "margin 2"),
        ("validation", True, "validation"),
        ("seed", 3, "seed 3"),
        ("disp_freq", 10, ""),
    ],
)
def test_each_setting_that_is_not_published_is_said(field, value, text):
    assert shared_settings([TrainingConfig(**{field: value})]) == text


def test_names_are_as_many_as_networks_whatever_differs():
    networks = [replace(BASE, validation=flag, test_epoch=epochs) for flag in (False, True) for epochs in (1, 2)]
    assert len(set(named(networks))) == 4


def test_trials_are_numbered_with_two_digits():
    assert [trial_name(3), trial_name(30), trial_name(100)] == ["trial 03", "trial 30", "trial 100"]
