"""The initial weights of a layer are drawn from N(0, std^2); an initialization gives the std of each layer."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Final

RULES: Final[Mapping[str, Callable[[int, int], float]]] = {
    "he": lambda fan_in, _: sqrt(2 / fan_in),
    "xavier": lambda fan_in, fan_out: sqrt(2 / (fan_in + fan_out)),
    "lecun": lambda fan_in, _: sqrt(1 / fan_in),
}
"""The rules by name: each gives the std of a layer's weights from the numbers of its inputs and outputs.

He et al. (2015), https://arxiv.org/abs/1502.01852; Glorot & Bengio (2010), whose first name is Xavier,
https://proceedings.mlr.press/v9/glorot10a.html; LeCun et al. (1998), "Efficient BackProp".
"""


def standard_deviations(init_std: float | str | Sequence[float], sizes: Sequence[int]) -> list[float]:
    """Give the standard deviation of the weights of each layer.

    Args:
        init_std: one number for all layers, a key of `RULES`, or a number for each layer; the last number also applies
            to all further layers.
        sizes: features, outputs of each hidden layer, classes.

    Raises:
        KeyError: there is no such rule.
        ValueError: there are more numbers than layers, or none.

    Example:
        >>> standard_deviations("lecun", (400, 100, 10))
        [0.05, 0.1]
    """
    layers = list(pairwise(sizes))
    if isinstance(init_std, str):
        rule = RULES[init_std]
        return [rule(fan_in, fan_out) for fan_in, fan_out in layers]
    if isinstance(init_std, float | int):
        return [init_std] * len(layers)
    if not 1 <= len(init_std) <= len(layers):
        raise ValueError(f"{len(init_std)} standard deviations for {len(layers)} layers")
    return [*init_std, *[init_std[-1]] * (len(layers) - len(init_std))]
