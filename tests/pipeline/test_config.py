from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

import model
from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import TrainingConfig, parse_init_std, parse_sizes
from pipeline.errors import UsageError

positive = st.floats(min_value=1e-30, max_value=1e30)
counts = st.integers(1, 10**9)
configs = st.builds(
    TrainingConfig,
    dataset=st.sampled_from(["mnist", "digits"]),
    hidden_sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=5).map(tuple),
    activation=st.sampled_from(list(ACTIVATIONS)),
    loss=st.sampled_from(list(LOSSES)),
    learning_rate=positive,
    weight_decay=st.floats(0, 10),
    momentum=st.floats(0, 1, exclude_max=True),
    batch_size=counts,
    max_epoch=counts,
    disp_freq=counts,
    test_epoch=counts,
    init_std=st.one_of(st.sampled_from(["he", "xavier", "lecun"]), positive),
    hinge_margin=positive,
    seed=st.integers(0, 2**63),
    validation=st.booleans(),
)


def test_defaults_are_the_published_hyperparameters():
    published = {
        "learning_rate": 0.003,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "batch_size": 100,
        "max_epoch": 200,
        "disp_freq": 50,
        "test_epoch": 5,
    }
    assert published.items() <= asdict(TrainingConfig()).items()


@given(configs)
def test_what_mlflow_keeps_reads_back(config):
    assert TrainingConfig.from_parameters(config.parameters()) == config


@given(configs, configs)
def test_fingerprints_differ_where_anything_differs(one, other):
    assert (one.fingerprint("data") == other.fingerprint("data")) == (one == other)
    assert one.fingerprint("data") != one.fingerprint("other data")


def test_fingerprint_changes_with_the_arithmetic(monkeypatch):
    before = TrainingConfig().fingerprint("data")
    monkeypatch.setattr(model, "ARITHMETIC", model.ARITHMETIC + 1)
    assert TrainingConfig().fingerprint("data") != before


def test_a_new_field_at_its_default_changes_no_fingerprint():
    @dataclass(frozen=True, kw_only=True)
    class Newer(TrainingConfig):
        dropout: float = 0.0

    for values in ({}, {"loss": "hinge", "seed": 3}):
        assert Newer(**values).fingerprint("data") == TrainingConfig(**values).fingerprint("data")
    assert Newer(dropout=0.5).fingerprint("data") != TrainingConfig().fingerprint("data")


def test_fingerprint_is_the_one_of_this_version_for_ever():
    """If this fails, every finished run of every store is trained again."""
    assert TrainingConfig().fingerprint("data") == "81fa5b413fe7d259aca4594a44e22cf4"
    changed = TrainingConfig(hidden_sizes=(256, 64), init_std=(0.05, 0.1, 0.15), learning_rate=0.1, validation=True)
    assert changed.fingerprint("data") == "385fdf7c800353d8b59cc9bde508baae"


@pytest.mark.parametrize("text", ["he", "xavier", "lecun", "0.1", "0.05/0.15"])
def test_init_std_is_a_rule_a_number_or_a_number_for_each_layer(text):
    config = TrainingConfig(init_std=parse_init_std(text))
    assert config.name == f"relu-euclidean-1h init_std={text}"
    assert TrainingConfig.from_parameters(config.parameters()) == config


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            (0.1, 0.2, 0.3),
            "init_std is '0.1/0.2/0.3'; it has to be at most 2 numbers, because ",
        ),
        ((0.1, -0.2), "init_std is '0.1/-0.2'; it has to be a number above 0, he or xavier or lecun, or numbers"),
    ],
)
def test_refused_deviations_are_shown_as_they_are_written(value, message):
    with pytest.raises(UsageError) as caught:
        TrainingConfig(init_std=value)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("sizes", "name"),
    [("128", "1h"), ("256x64", "2h"), ("512x256x128", "512x256x128"), ("64", "64"), ("64x256", "64x256")],
)
def test_published_sizes_are_named_by_their_depth_others_by_their_units(sizes, name):
    config = TrainingConfig(loss="hinge", hidden_sizes=parse_sizes(sizes), momentum=0.5)
    assert config.name == f"relu-hinge-{name} momentum=0.5"
    assert config.parameters()["hidden_sizes"] == sizes
    assert config.parameters()["hidden_layers"] == str(1 + sizes.count("x"))


@pytest.mark.parametrize(("depth", "sizes"), [(1, (128,)), (2, (256, 64))])
def test_parameters_of_the_version_before_read_as_the_published_sizes(depth, sizes):
    config = TrainingConfig(hidden_sizes=sizes, loss="hinge")
    parameters = config.parameters()
    del parameters["hidden_sizes"]
    assert parameters["hidden_layers"] == str(depth)
    assert TrainingConfig.from_parameters(parameters) == config


def test_a_missing_parameter_is_its_default():
    config = TrainingConfig(dataset="digits", seed=3)
    assert TrainingConfig.from_parameters({"dataset": "digits", "seed": "3"}) == config
    with pytest.raises(KeyError, match="dataset"):
        TrainingConfig.from_parameters({"seed": "3"})


@pytest.mark.parametrize(("sizes", "shown"), [((), ""), ((0,), "0"), ((128, -1), "128x-1")])
def test_refused_sizes_are_shown_as_they_are_written(sizes, shown):
    with pytest.raises(UsageError, match=f"hidden_sizes is '{shown}'; it has to be whole numbers from 1 up"):
        TrainingConfig(hidden_sizes=sizes)


def test_whole_numbers_are_the_real_numbers_they_stand_for():
    assert TrainingConfig(learning_rate=1).fingerprint("data") == TrainingConfig(learning_rate=1.0).fingerprint("data")


@pytest.mark.parametrize(
    ("field", "value"),
    [("learning_rate", 0.09), ("momentum", 0.9), ("init_std", "he"), ("seed", 3), ("validation", True)],
)
def test_name_tells_what_is_not_published(field, value):
    assert TrainingConfig(activation="gelu", loss="hinge").name == "gelu-hinge-1h"
    assert TrainingConfig(**{field: value}).name == f"relu-euclidean-1h {field}={value}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("activation", "tanh"),
        ("loss", "mse"),
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("weight_decay", -1),
        ("momentum", 1),
        ("batch_size", 0),
        ("max_epoch", 0),
        ("disp_freq", 0),
        ("test_epoch", -5),
        ("init_std", 0),
        ("init_std", "glorot"),
        ("hinge_margin", 0),
        ("seed", -1),
    ],
)
def test_refusals_name_the_value_and_what_is_accepted(field, value):
    with pytest.raises(UsageError) as caught:
        TrainingConfig(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{field} is {value!r}; it has to be ")
    assert "\n" not in message
