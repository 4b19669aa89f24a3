"""scikit-learn's MLPClassifier, which has one loss: softmax cross-entropy."""

import warnings
from collections.abc import Sequence

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.job import BATCH, HIDDEN, LEARNING_RATE, SEED, Contender, Data, Kind, Weights, layers_of


class Sklearn(Contender):
    """Plain SGD: no momentum, no penalty, no early stop."""

    def __init__(self, data: Data, threads: int) -> None:
        """Hold the images as floats."""
        super().__init__(data, threads)
        self.images = data.inputs()

    def train(self, kinds: Sequence[Kind], epochs: int) -> list[Weights]:
        """Train one network after the other."""
        return [self._one(kind, epochs) for kind in kinds]

    def _one(self, kind: Kind, epochs: int) -> Weights:
        classifier = MLPClassifier(
            (HIDDEN,),
            activation={"relu": "relu", "sigmoid": "logistic"}[kind.activation],
            solver="sgd",
            alpha=0,
            batch_size=BATCH,
            learning_rate_init=LEARNING_RATE,
            momentum=0,
            nesterovs_momentum=False,
            max_iter=epochs,
            n_iter_no_change=epochs + 1,
            warm_start=True,
            random_state=SEED,
        )
        # A first small step makes the arrays, which then get the common weights; warm_start goes on from them.
        classifier.partial_fit(self.images[:BATCH], self.data.labels[:BATCH], classes=range(self.data.sizes[2]))
        start = self.data.weights()
        classifier.coefs_ = [start["layer1.weight"], start["layer2.weight"]]
        classifier.intercepts_ = [start["layer1.bias"], start["layer2.bias"]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(self.images, self.data.labels)
        (first, second), (first_bias, second_bias) = classifier.coefs_, classifier.intercepts_
        return layers_of(first, first_bias, second, second_bias)
