"""A multilayer perceptron in NumPy alone: it knows nothing of files, tracking or the command line."""

from typing import Final

ARITHMETIC: Final = 1
"""The version of what this package computes, up to rounding; a part of every fingerprint.

Raise it with each change after which a training ends in other weights, so that finished runs of the old arithmetic are
trained again instead of being reused. The golden trainings of the tests show whether a change is such a one.
"""
