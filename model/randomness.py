"""All random numbers depend on seed, purpose and epoch alone, so that an epoch needs none of the previous epochs."""

import numpy as np


def rng(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Make the generator of random numbers for one purpose in one epoch.

    Args:
        seed: the seed of the training, not negative.
        purpose: what the numbers are for, such as "weights" or "order"; different purposes get independent numbers.
        epoch: counted from 0; left out for numbers that are drawn once.

    Raises:
        ValueError: the seed or the epoch is negative.

    Example:
        >>> int(rng(0, "order", epoch=3).integers(100)) == int(rng(0, "order", epoch=3).integers(100))
        True
    """
    return np.random.default_rng([seed, epoch, *purpose.encode()])
