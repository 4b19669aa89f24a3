import csv

import pytest

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.experiments import INITIALISATIONS, STUDIES, grid, sweep
from tests.conftest import REPOSITORY

EVERYTHING = {
    "hidden_sizes": [(128,), (256, 64)],
    "activations": ["relu", "sigmoid", "gelu"],
    "losses": ["euclidean", "softmax_cross_entropy", "hinge"],
    "seeds": [0],
}
published = REPOSITORY.parent / "shared/published"


def test_published_grid_has_18_networks_that_differ_in_nothing_else():
    configs = grid(TrainingConfig(), **EVERYTHING)
    assert len(configs) == 18
    assert len({config.name for config in configs}) == 18
    assert len({(config.learning_rate, config.max_epoch, config.seed) for config in configs}) == 1


def test_each_network_comes_once_a_seed():
    configs = grid(TrainingConfig(), **{**EVERYTHING, "seeds": [3, 4, 3]})
    assert len(configs) == 36
    assert {config.seed for config in configs} == {3, 4}


def test_the_rest_is_as_in_the_base():
    [config] = grid(
        TrainingConfig(momentum=0.5), hidden_sizes=[(256, 64)], activations=["gelu"], losses=["hinge"], seeds=[7]
    )
    assert config == TrainingConfig(momentum=0.5, hidden_sizes=(256, 64), activation="gelu", loss="hinge", seed=7)


@pytest.mark.parametrize("lacking", EVERYTHING)
def test_an_empty_grid_is_refused(lacking):
    with pytest.raises(UsageError, match="empty"):
        grid(TrainingConfig(), **{**EVERYTHING, lacking: []})


@pytest.mark.skipif(not published.is_dir(), reason="the published figures are not beside the repository")
def test_studies_are_the_published_ones():
    with (published / "sweeps.csv").open() as file:
        rows = list(csv.DictReader(file))
    asked = {
        (row["study"], row["activation"], row["loss"], float(row["learning_rate"]), int(row["max_epoch"]))
        for row in rows
    }
    assert asked == {
        (study, config.activation, config.loss, config.learning_rate, config.max_epoch)
        for study, configs in STUDIES.items()
        for config in configs
    }


def test_initialisation_is_studied_with_the_euclidean_networks_of_both_depths():
    configs = sweep(TrainingConfig(momentum=0.5), study="initialisation", max_epochs=[3], seeds=[1])
    assert len(set(configs)) == len(configs) == 6 * len(INITIALISATIONS)
    assert {config.init_std for config in configs} == set(INITIALISATIONS)
    assert {(config.loss, config.momentum, config.max_epoch, config.seed) for config in configs} == {
        ("euclidean", 0.5, 3, 1)
    }


def test_open_studies_are_trained_by_name_alone():
    configs = sweep(TrainingConfig(init_std="he"))
    assert {config.init_std for config in configs} == {"he"}
    assert len(configs) == sum(map(len, STUDIES.values()))


def test_unknown_study_is_refused_with_all_that_there_are():
    with pytest.raises(UsageError, match=r"'x'; it has to be max_epoch or .* or initialisation"):
        sweep(TrainingConfig(), study="x")
