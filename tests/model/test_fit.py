"""Training: windows, positions, stops, and the same bits whatever happens between."""

import json
import math
import pickle
from dataclasses import asdict, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import model.fit
from model.examples import Examples
from model.fit import Diverged, Position, Window, evaluate, fit
from model.losses import LOSSES, make_loss
from model.optimizers import Sgd
from model.randomness import rng

SETTINGS = {"batch_size": 20, "max_epoch": 3, "disp_freq": 5, "seed": 2}
BATCHES = 12  # 237 examples in mini-batches of 20, the last one of 17
CHUNKS = [2, 4, 5, 7, 9, 10, 12, 14, 15, 17, 19, 20, 22, 24, 25, 27, 29, 30, 32, 34, 35, 36]  # where they end


@pytest.fixture(scope="module", autouse=True)
def _short_stretches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.fit, "CHUNK", 40)
        yield


@pytest.fixture(scope="session")
def start(make_network, examples):
    """Give network, Sgd and a function that trains them from a position on."""

    def begin(momentum=0.5, learning_rate=0.05, loss="softmax_cross_entropy", **changes):
        network = make_network()
        sgd = Sgd(network.parameters, learning_rate, momentum, weight_decay=0.01)

        def train(**more):
            return fit(network, make_loss(loss), sgd, examples, **{**SETTINGS, **changes, **more})

        return network, sgd, train

    return begin


def all_state(network, sgd):
    return {**network.state(), **sgd.state()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_records_at_the_end_of_each_epoch(start):
    _, _, train = start()
    records = list(train(interval=math.inf))
    assert [(r.epoch, r.step, r.epoch_ended) for r in records] == [(1, 12, True), (2, 24, True), (3, 36, True)]
    assert [[w.step for w in r.windows] for r in records] == [[5, 10], [15, 20], [25, 30, 35, 36]]
    assert [(r.position.epoch, r.position.batch) for r in records] == [(1, 0), (2, 0), (3, 0)]
    assert [r.position.window_examples for r in records] == [37, 20 * 3 + 17, 0]
    assert all(r.seconds > 0 for r in records)


def test_records_inside_an_epoch(start):
    _, _, train = start()
    records = list(train(interval=0))
    assert [r.step for r in records] == CHUNKS
    assert [r.step for r in records if r.epoch_ended] == [12, 24, 36]
    assert [w.step for r in records for w in r.windows] == [5, 10, 15, 20, 25, 30, 35, 36]
    assert records[7].position.epoch == 1
    assert records[7].position.batch == 2


def test_records_change_no_bits(start):
    states = []
    for interval in (0, math.inf):
        network, sgd, train = start()
        windows = [w for r in train(interval=interval) for w in r.windows]
        states.append((all_state(network, sgd), windows))
    assert_same(states[0][0], states[1][0])
    assert states[0][1] == states[1][1]


@pytest.mark.parametrize("momentum", [0, 0.5])
@settings(max_examples=15, deadline=None)
@given(stop=st.sampled_from(CHUNKS))
def test_going_on_from_any_position_changes_no_bits(start, momentum, stop):
    network, sgd, train = start(momentum)
    whole = [w for r in train(interval=math.inf) for w in r.windows]
    expected = all_state(network, sgd)

    network, sgd, train = start(momentum)
    windows = []
    for record in train(interval=0):
        windows += record.windows
        if record.step == stop:
            break
    state = {name: array.copy() for name, array in all_state(network, sgd).items()}
    position = Position(**json.loads(json.dumps(asdict(record.position))))

    network, sgd, train = start(momentum)
    for parameter in network.parameters.values():
        parameter.value += 1
    network.load_state(state)
    sgd.load_state(state)
    windows += [w for r in train(position=position, interval=math.inf) for w in r.windows]
    assert windows == whole
    assert_same(all_state(network, sgd), expected)


def test_nothing_is_left_to_do_at_the_end(start):
    network, _, train = start()
    before = network.state()
    assert list(train(position=Position(epoch=3))) == []
    assert_same(network.state(), before)


def test_windows_are_means_over_their_images(start, examples):
    # With a learning rate of next to nothing, each image's loss is that of the weights at the start.
    network, _, train = start(momentum=0, learning_rate=1e-30, max_epoch=1)
    loss = make_loss("softmax_cross_entropy")
    order = rng(SETTINGS["seed"], "order", 0).permutation(len(examples))
    windows = [w for r in train() for w in r.windows]
    assert [w.step for w in windows] == [5, 10, 12]
    for window, (first, last) in zip(windows, [(0, 100), (100, 200), (200, 237)], strict=True):
        seen = order[first:last]
        part = Examples(*(getattr(examples, each.name)[seen] for each in fields(Examples)))
        expected = evaluate(network, loss, part)
        assert window.loss == pytest.approx(expected.loss, rel=1e-5)
        assert window.accuracy == pytest.approx(expected.accuracy, abs=1e-12)


def test_every_image_is_seen_once_an_epoch_in_the_order_of_its_epoch(start, examples, monkeypatch):
    seen = []
    whole = type(examples).batch
    monkeypatch.setattr(type(examples), "batch", lambda self, indices: seen.append(indices) or whole(self, indices))
    _, _, train = start()
    list(train())
    assert [len(indices) for indices in seen] == ([20] * 11 + [17]) * 3
    for epoch in range(3):
        order = rng(SETTINGS["seed"], "order", epoch).permutation(237)
        for batch, indices in enumerate(seen[epoch * 12 : epoch * 12 + 12]):
            assert sorted(indices) == sorted(order[batch * 20 : batch * 20 + 20])
            assert (np.diff(examples.extents[indices]) >= 0).all()
        assert sorted(order) == list(range(237))


def test_training_learns(start, examples):
    network, _, train = start(max_epoch=60)
    records = list(train())
    assert records[-1].windows[-1].loss < records[0].windows[0].loss / 2
    assert evaluate(network, make_loss("softmax_cross_entropy"), examples).accuracy > 0.8


def test_seconds_leave_out_what_the_caller_does(start, monkeypatch):
    clock = [0.0]

    def tick():
        clock[0] += 1
        return clock[0]

    monkeypatch.setattr(model.fit, "perf_counter", tick)
    _, _, train = start()
    seconds = []
    for record in train(interval=2.5):
        seconds.append(record.seconds)
        clock[0] += 1000
    assert seconds == [3, 3, 1, 3, 3, 1, 3, 3, 2]


@pytest.mark.parametrize(
    ("loss", "learning_rate", "earliest"), [*((loss, 1e25, 1) for loss in LOSSES), ("euclidean", 3.0, BATCHES + 1)]
)
def test_divergence_says_where(start, loss, learning_rate, earliest, monkeypatch):
    seen = []
    for chunk in (1, 40, 2000):
        monkeypatch.setattr(model.fit, "CHUNK", chunk)
        _, _, train = start(loss=loss, learning_rate=learning_rate, momentum=0, max_epoch=50, disp_freq=1000)
        records = []
        with pytest.raises(Diverged) as caught:
            records.extend(train(interval=0))
        error = caught.value
        assert not math.isfinite(error.loss)
        assert error.step >= earliest
        assert error.epoch == (error.step - 1) // BATCHES + 1
        assert f"epoch {error.epoch}, step {error.step}" in str(error)
        assert all(record.step < error.step for record in records)
        assert all(math.isfinite(record.position.window_loss) for record in records)
        if chunk == 1:
            assert [record.step for record in records] == list(range(1, error.step))
        seen.append((error.epoch, error.step, str(error.loss)))
    assert len(set(seen)) == 1


def test_divergence_survives_the_way_between_processes():
    error = Diverged(2, 13, math.inf, (Window(5, 0.5, 0.25),))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert str(copy) == str(error)
    assert copy.windows == error.windows


def test_a_stretch_whose_losses_are_too_large_only_together_ends_the_training(start, monkeypatch):
    monkeypatch.setattr(model.fit, "CHUNK", 2000)
    largest = 3e38

    class Large(type(make_loss("euclidean"))):
        def forward(self, outputs, _targets):
            return math.inf if len(outputs) > 20 else largest

    monkeypatch.setitem(LOSSES, "euclidean", Large)
    _, _, train = start(loss="euclidean", momentum=0)
    with pytest.raises(Diverged) as caught:
        list(train())
    assert (caught.value.epoch, caught.value.step) == (1, 5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("together", [1, 50, 237, 1000])
def test_evaluation_is_the_mean_over_all(make_network, examples, loss, together, monkeypatch):
    monkeypatch.setattr(model.fit, "EVALUATED_TOGETHER", together)
    network, loss = make_network(), make_loss(loss)
    scores = network.forward(examples)
    expected = loss.forward(scores, np.eye(5, dtype=np.float32)[examples.labels])
    result = evaluate(network, loss, examples)
    assert result.loss == pytest.approx(expected, rel=1e-5)
    assert result.accuracy == pytest.approx(np.mean(scores.argmax(axis=1) == examples.labels), abs=1e-12)
    assert type(result.loss) is type(result.accuracy) is float


def test_evaluation_in_between_changes_no_bits(start, examples):
    states = []
    for evaluating in (False, True):
        network, sgd, train = start()
        loss = make_loss("softmax_cross_entropy")
        for _ in train(interval=0):
            if evaluating:
                evaluate(network, loss, examples)
        states.append(all_state(network, sgd))
    assert_same(*states)


@pytest.mark.parametrize("decays", [{}, {"momentum": 0.9, "weight_decay": 0.01}])
@pytest.mark.parametrize("hidden", [(11,), (9, 6)])
@pytest.mark.parametrize("disp_freq", [1, 5])
def test_a_short_training_against_torch(make_network, images, examples, hidden, decays, disp_freq):
    torch = pytest.importorskip("torch")
    network = make_network(hidden, "gelu", np.float64)
    start = network.weights()
    layers = []
    for number in range(1, len(hidden) + 2):
        weight, bias = start[f"layer{number}.weight"], start[f"layer{number}.bias"]
        linear = torch.nn.Linear(*weight.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(weight.T.copy()), torch.tensor(bias)
        layers += [linear, torch.nn.ReLU()]
    layers[-3:] = [torch.nn.GELU(approximate="tanh"), layers[-2]]
    theirs = torch.nn.Sequential(*layers)
    their_sgd = torch.optim.SGD(theirs.parameters(), lr=0.05, **decays)
    inputs, labels = (torch.tensor(images).double() - 128) / 255, torch.tensor(examples.labels).long()

    sgd = Sgd(network.parameters, 0.05, **decays)
    records = fit(
        network,
        make_loss("softmax_cross_entropy"),
        sgd,
        examples,
        batch_size=20,
        max_epoch=2,
        disp_freq=disp_freq,
        seed=3,
        interval=0,
    )
    taken = []
    for record in records:
        for number in range(len(taken), record.step):
            epoch, batch = divmod(number, BATCHES)
            chosen = rng(3, "order", epoch).permutation(237)[batch * 20 : batch * 20 + 20]
            their_loss = torch.nn.functional.cross_entropy(theirs(inputs[chosen]), labels[chosen])
            their_sgd.zero_grad()
            their_loss.backward()
            their_sgd.step()
            taken.append((their_loss.item(), len(chosen)))
        for window in record.windows:
            losses, sizes = zip(*taken[(window.step - 1) // disp_freq * disp_freq : window.step], strict=True)
            assert window.loss == pytest.approx(np.average(losses, weights=sizes), rel=1e-9)
        ours = network.weights()
        for number, linear in enumerate((layer for layer in theirs if isinstance(layer, torch.nn.Linear)), start=1):
            np.testing.assert_allclose(ours[f"layer{number}.weight"], linear.weight.detach().numpy().T, atol=1e-10)
            np.testing.assert_allclose(ours[f"layer{number}.bias"], linear.bias.detach().numpy(), atol=1e-10)
    assert record.step == 24


def test_divergence_loses_no_window(start):
    def windows_until_divergence(interval):
        windows = []
        _, _, train = start(loss="euclidean", learning_rate=3.0, max_epoch=200, disp_freq=2)
        with pytest.raises(Diverged) as caught:
            for record in train(interval=interval):
                windows.extend(record.windows)
        return [*windows, *caught.value.windows], caught.value.step

    windows, step = windows_until_divergence(interval=1e9)
    assert [window.step for window in windows] == list(range(2, step, 2))
    assert windows == windows_until_divergence(interval=0)[0]
