"""PyTorch: eager with the data in memory, with a DataLoader, and compiled."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch._dynamo import config as dynamo
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from benchmarks.job import BATCH, LEARNING_RATE, MARGIN, SEED, Contender, Data, Kind, Weights, layers_of

Loss = Callable[[Tensor, Tensor], Tensor]


def _euclidean(scores: Tensor, labels: Tensor) -> Tensor:
    targets = nn.functional.one_hot(labels, scores.shape[1])
    return ((scores - targets) ** 2).sum() / (2 * len(scores))


def _hinge(scores: Tensor, labels: Tensor) -> Tensor:
    right = scores.gather(1, labels[:, None])
    return (torch.relu(MARGIN - right + scores).sum() - MARGIN * len(scores)) / len(scores)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "gelu": lambda: nn.GELU(approximate="tanh"),
}
_LOSSES: dict[str, Loss] = {
    "euclidean": _euclidean,
    "softmax_cross_entropy": nn.functional.cross_entropy,
    "hinge": _hinge,
}


class _Scored(nn.Module):
    """A network with its loss, so that both are compiled as one."""

    def __init__(self, kind: Kind, sizes: Sequence[int]) -> None:
        super().__init__()
        features, hidden, classes = sizes
        self.first = nn.Linear(features, hidden)
        self.activation = _ACTIVATIONS[kind.activation]()
        self.second = nn.Linear(hidden, classes)
        self.loss = _LOSSES[kind.loss]

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.second(self.activation(self.first(inputs))), labels)


class Eager(Contender):
    """All images in memory as floats; a mini-batch is one gather."""

    def __init__(self, data: Data, threads: int) -> None:
        """Hold images and labels as tensors."""
        super().__init__(data, threads)
        torch.set_num_threads(threads)
        self.images = torch.from_numpy(data.inputs())
        self.labels = torch.from_numpy(data.labels)

    def train(self, kinds: Sequence[Kind], epochs: int) -> list[Weights]:
        """Train one network after the other."""
        return [self._one(kind, epochs) for kind in kinds]

    def scored(self, kind: Kind) -> Callable[[Tensor, Tensor], Tensor]:
        """The network with its loss."""
        return _Scored(kind, self.data.sizes)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of each mini-batch."""
        for indices in torch.from_numpy(self.data.order(epoch)):
            yield self.images.index_select(0, indices), self.labels.index_select(0, indices)

    def _one(self, kind: Kind, epochs: int) -> Weights:
        network = self.scored(kind)
        assert isinstance(network, nn.Module)  # noqa: S101 - compiled or not
        weights = self.data.weights()
        with torch.no_grad():
            for number, layer in enumerate((network.first, network.second), start=1):
                layer.weight.copy_(torch.from_numpy(weights[f"layer{number}.weight"].T))
                layer.bias.copy_(torch.from_numpy(weights[f"layer{number}.bias"]))
        sgd = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, fused=True)
        for epoch in range(epochs):
            for inputs, labels in self.batches(epoch):
                sgd.zero_grad(set_to_none=True)
                network(inputs, labels).backward()
                sgd.step()
        first, second = network.first, network.second
        arrays = [tensor.detach().numpy() for tensor in (first.weight.T, first.bias, second.weight.T, second.bias)]
        return layers_of(*arrays)


class Loader(Eager):
    """The same, with mini-batches from a DataLoader, in the form its documentation recommends for data in memory.

    The sampler gives whole mini-batches, which saves collating single images; worker processes would only add copies.
    """

    def __init__(self, data: Data, threads: int) -> None:
        """Make the loader."""
        super().__init__(data, threads)
        dataset = _Batches(self.images, self.labels)
        generator = torch.Generator().manual_seed(SEED)
        sampler = BatchSampler(RandomSampler(dataset, generator=generator), BATCH, drop_last=True)
        self.loader = DataLoader(dataset, sampler=sampler, batch_size=None)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:  # noqa: ARG002 - the loader draws its own order
        """Images and labels of each mini-batch."""
        yield from self.loader


class _Batches(TensorDataset):
    """Images and labels by many indices at once."""

    def __getitem__(self, index: list[int]) -> tuple[Tensor, ...]:
        indices = torch.tensor(index)
        return tuple(tensor.index_select(0, indices) for tensor in self.tensors)


class Compiled(Eager):
    """The same as eager, with network, loss and their gradients compiled."""

    def __init__(self, data: Data, threads: int) -> None:
        """Nothing is compiled yet; by default only eight networks may be, and the ninth would run eager."""
        super().__init__(data, threads)
        dynamo.recompile_limit = 64
        self._compiled: dict[Kind, Callable[[Tensor, Tensor], Tensor]] = {}

    def warm_up(self, kinds: Sequence[Kind]) -> None:
        """Compile each network."""
        self.train(kinds, 1)

    def scored(self, kind: Kind) -> Callable[[Tensor, Tensor], Tensor]:
        """The network with its loss, compiled once."""
        if kind not in self._compiled:
            self._compiled[kind] = torch.compile(_Scored(kind, self.data.sizes), dynamic=False)
        return self._compiled[kind]
