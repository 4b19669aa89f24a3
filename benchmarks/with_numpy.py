"""This project's own network in its own training loop."""

from collections.abc import Sequence

from benchmarks.job import BATCH, LEARNING_RATE, MARGIN, SEED, Contender, Kind, Weights
from model.fit import fit
from model.losses import make_loss
from model.optimizers import Sgd


class ThisProject(Contender):
    """`model.fit`, its records of progress and training curve included."""

    def train(self, kinds: Sequence[Kind], epochs: int) -> list[Weights]:
        """Train one network after the other."""
        return [self._one(kind, epochs) for kind in kinds]

    def _one(self, kind: Kind, epochs: int) -> Weights:
        network = self.data.network(kind)
        sgd = Sgd(network.parameters, LEARNING_RATE)
        loss = make_loss(kind.loss, MARGIN)
        train = self.data.prepared.train
        for _ in fit(network, loss, sgd, train, batch_size=BATCH, max_epoch=epochs, disp_freq=50, seed=SEED):
            pass
        return network.weights()
