"""A multilayer perceptron in NumPy alone: it knows nothing of files, tracking or the command line."""

from typing import Final

ARITHMETIC: Final = 1
"""The version of what this package computes, up to rounding; every fingerprint contains this number.

Raise the number with each change after which a training ends in other weights. Then the pipeline trains the networks of
the old arithmetic again instead of reusing their runs. The golden trainings of the tests detect such a change.
"""
