"""The table that a grid ends with, letter for letter."""

from dataclasses import replace

import pytest

from pipeline.config import TrainingConfig
from pipeline.display.results import best_results, results_markdown, results_text
from pipeline.training.task import Outcome, Status

BASE = TrainingConfig(dataset="digits", learning_rate=0.1, init_std="he", max_epoch=50)


def finished(config, accuracy, *, reused=False):
    metrics = {"test_accuracy": accuracy, "test_loss": 0.1, "train_accuracy": 1.0, "train_loss": 0.002}
    return Outcome(config, Status.FINISHED, "run", metrics | {"train_seconds": 12.34}, reused=reused)


GRID = [
    finished(BASE, 0.9139),
    finished(replace(BASE, hidden_sizes=(256, 64), activation="gelu", loss="softmax_cross_entropy"), 0.9722),
    Outcome(replace(BASE, activation="sigmoid", loss="hinge"), Status.FAILED, "run", reason="diverged"),
    finished(replace(BASE, hidden_sizes=(512, 256, 128), loss="hinge"), 0.95, reused=True),
]
AT_80 = """\
   layers       activation  loss                   accuracy  test loss  seconds
-  -----------  ----------  ---------------------  --------  ---------  -------
*  256x64       gelu        softmax_cross_entropy    97.22%     0.1000     12.3
   512x256x128  relu        hinge                    95.00%     0.1000     12.3
   128          relu        euclidean                91.39%     0.1000     12.3
   128          sigmoid     hinge                    failed          -        -"""
AT_120 = """\
   layers       activation  loss                   accuracy  test loss  seconds  train accuracy  train loss  run
-  -----------  ----------  ---------------------  --------  ---------  -------  --------------  ----------  --------
*  256x64       gelu        softmax_cross_entropy    97.22%     0.1000     12.3         100.00%      0.0020  finished
   512x256x128  relu        hinge                    95.00%     0.1000     12.3         100.00%      0.0020  reused
   128          relu        euclidean                91.39%     0.1000     12.3         100.00%      0.0020  finished
   128          sigmoid     hinge                    failed          -        -               -           -  failed"""
SEEDS = """\
   layers  activation  loss                   seed  accuracy  test loss  seconds
-  ------  ----------  ---------------------  ----  --------  ---------  -------
*  256x64  sigmoid     softmax_cross_entropy     1    91.00%     0.1000     12.3
   128     relu        euclidean                 0    90.00%     0.1000     12.3"""
SWEEP = """\
   learning_rate  max_epoch  accuracy  test loss  seconds  train accuracy
-  -------------  ---------  --------  ---------  -------  --------------
*         0.0185        200    91.00%     0.1000     12.3         100.00%
           0.003        400    90.00%     0.1000     12.3         100.00%"""


@pytest.mark.parametrize(("width", "text"), [(80, AT_80), (120, AT_120)])
def test_a_grid_has_the_best_first_and_the_columns_that_fit(width, text):
    assert results_text(GRID, width) == text
    assert max(map(len, text.splitlines())) <= width


def test_the_widest_published_grid_with_seeds_fits_80_columns():
    wide = replace(BASE, hidden_sizes=(256, 64), activation="sigmoid", loss="softmax_cross_entropy", seed=1)
    assert results_text([finished(BASE, 0.9), finished(wide, 0.91)], 80) == SEEDS


def test_a_sweep_has_columns_for_what_varies_and_none_for_the_network():
    rates = [(0.003, 400, 0.9), (0.018451617960165857, 200, 0.91)]
    sweep = [finished(replace(BASE, learning_rate=lr, max_epoch=epochs), value) for lr, epochs, value in rates]
    assert results_text(sweep, 80) == SWEEP


def test_one_network_has_its_columns():
    assert results_text([finished(BASE, 0.9)], 65).splitlines()[-1].split() == [
        "*", "128", "relu", "euclidean", "90.00%", "0.1000", "12.3",
    ]  # fmt: skip


def test_the_order_of_what_is_not_finished_is_kept_and_none_of_it_is_marked():
    stopped = [Outcome(replace(BASE, seed=seed), Status.KILLED, reason="stopped") for seed in (0, 1)]
    lines = results_text(stopped, 40).splitlines()[2:]
    assert [line.split() for line in lines] == [["0", "killed", "-", "-"], ["1", "killed", "-", "-"]]


def test_markdown_has_every_column_at_any_width():
    lines = results_markdown(GRID).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "", "layers", "activation", "loss", "accuracy", "test loss", "seconds", "train accuracy", "train loss", "run",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == [
        "", "512x256x128", "relu", "hinge", "95.00%", "0.1000", "12.3", "100.00%", "0.0020", "reused",
    ]  # fmt: skip


def test_a_description_has_room_for_the_best_alone():
    many = [finished(replace(BASE, seed=seed), seed / 1000) for seed in range(500)]
    text = best_results(many, 4000)
    assert len(text) <= 4000
    assert "49.90%" in text.splitlines()[2]
    assert text.endswith(" of 500; `results.md` has all.")
    assert best_results(many[:2], 4000) == results_markdown(many[:2])
