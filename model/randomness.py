"""All randomness is a function of seed, purpose and epoch, so that an epoch can be had without those before it."""

import numpy as np


def rng(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Give the random numbers of one purpose in one epoch.

    Args:
        seed: the seed of the whole training, not negative.
        purpose: what the numbers are for, such as "weights" or "order"; other purposes have unrelated numbers.
        epoch: counted from 0, for what is drawn anew in each epoch.

    Raises:
        ValueError: the seed or the epoch is negative.

    Example:
        >>> int(rng(0, "order", epoch=3).integers(100)) == int(rng(0, "order", epoch=3).integers(100))
        True
    """
    return np.random.default_rng([seed, epoch, *purpose.encode()])
