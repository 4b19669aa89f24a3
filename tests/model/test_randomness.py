"""Random numbers: the same again for the same, others for others."""

import itertools

import pytest

from model.randomness import rng


def test_the_same_again():
    assert rng(1, "order", 2).integers(1 << 60) == rng(1, "order", 2).integers(1 << 60)


def test_seed_purpose_and_epoch_all_count():
    of = itertools.product((0, 1, 2**40), ("order", "weights"), (0, 1, 300))
    drawn = [rng(*arguments).integers(1 << 60) for arguments in of]
    assert len(set(drawn)) == len(drawn) == 18


def test_negative_seeds_are_refused():
    with pytest.raises(ValueError, match="non-negative"):
        rng(-1, "order")
