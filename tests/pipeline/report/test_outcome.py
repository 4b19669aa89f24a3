"""The first screen: what is reproduced, what is not and by how much, and each claim with what speaks against it."""

from dataclasses import replace

import pytest

from pipeline.report.claims import judge_claims
from pipeline.report.measured import Measured
from pipeline.report.outcome import effort, prose, reasons, reproduction
from pipeline.report.reading import Reading
from pipeline.report.reproduced import cells
from tests.pipeline.report.conftest import BASE, NETWORKS


@pytest.fixture
def reading(made):
    """The published figures with a little chance, but for one network that is 2 points off and one that is noisy."""
    for seed, chance in enumerate((-1, 0, 1)):
        made.published(NETWORKS, seed=seed, test_accuracy=lambda _config, value, by=chance / 10_000: value + by)
        off = replace(NETWORKS[0], seed=seed)
        noisy = replace(NETWORKS[2], seed=seed)
        made.run(off, test_accuracy=0.9638 + chance / 1000, train_accuracy=0.949033, test_loss=0.0697157,
                 train_loss=0.0681859)  # fmt: skip
        made.run(noisy, test_accuracy=0.9561 + chance / 100, train_accuracy=0.956983, test_loss=0.0683297,
                 train_loss=0.0671430)  # fmt: skip
    return Reading("made", made)


def test_reproduction_counts_and_names_what_is_outside_and_by_how_much(reading):
    text = " ".join("\n".join(reproduction(cells(reading, NETWORKS))).split())
    assert "**70 of 72 published figures are reproduced**" in text
    assert "; 1 outside of what further seeds would give, 1 with an interval too wide to tell." in text
    assert "chance alone would put about 3.6 of the 72 outside" in text
    assert "Test accuracy (points): 16 of 18; outside by: relu-euclidean-1h +1.50." in text
    assert "Training loss: 18 of 18." in text


def test_without_published_figures_nothing_is_said_of_them():
    assert list(reproduction([])) == []


def test_reasons_give_the_number_and_name_the_reversed_pairs(reading):
    text = " ".join("\n".join(reasons(judge_claims(reading)[2])).split())
    assert "### Claim 3" in text
    assert "GELU is more accurate than ReLU: **not decided by these runs: " in text
    assert "against: gelu-softmax_cross_entropy-1h -0.14" in text


def test_effort_is_the_training_and_the_time_that_passed():
    def run(seconds, started, ended, machine):
        return Measured("id", BASE, {"train_seconds": seconds}, started, ended, machine)

    hour = 3_600_000
    text = " ".join(effort([run(7200, 0, hour, "CPU one"), run(3600, hour, 2 * hour, "")]).split())
    assert text == (
        "2 runs with 3.0 hours of training on one core each; 2.0 hours passed between the start of the first and the "
        "end of the last, on CPU one."
    )


def test_prose_is_broken_into_readable_lines():
    assert max(map(len, prose("word " * 100, "- ").splitlines())) <= 120
