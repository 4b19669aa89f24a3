"""Spaces from text: every kind of values, what is refused, and that the text of a space is that space again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.search.space import DEFAULT_SPACE, SEARCHABLE, Space

BASE = TrainingConfig(dataset="digits")


@pytest.mark.parametrize(
    ("text", "name", "distribution"),
    [
        ("learning_rate=0.003..0.3 log", "learning_rate", FloatDistribution(0.003, 0.3, log=True)),
        ("max_epoch=50..400 step 10", "max_epoch", IntDistribution(50, 400, step=10)),
        ("momentum=0..0.95", "momentum", FloatDistribution(0.0, 0.95)),
        ("weight_decay=0..0.1 step 0.01", "weight_decay", FloatDistribution(0.0, 0.1, step=0.01)),
        ("batch_size=1..8 log", "batch_size", IntDistribution(1, 8, log=True)),
        ("batch_size=32|64|128", "batch_size", CategoricalDistribution([32, 64, 128])),
        ("activation=relu|sigmoid|gelu", "activation", CategoricalDistribution(["relu", "sigmoid", "gelu"])),
        ("hidden_sizes=128|256x64", "hidden_sizes", CategoricalDistribution(["128", "256x64"])),
        ("init_std=0.01|0.05|he", "init_std", CategoricalDistribution([0.01, 0.05, "he"])),
        ("init_std=0.01..0.1", "init_std", FloatDistribution(0.01, 0.1)),
    ],
)
def test_each_kind_of_values_is_a_distribution(text, name, distribution):
    space = Space.parse(text)
    assert space.distributions == {name: distribution}
    assert Space.parse(str(space)) == space


def test_default_space_holds_the_published_network():
    space = Space.parse(DEFAULT_SPACE)
    assert list(space.values) == ["learning_rate", "max_epoch"]
    assert space.of(TrainingConfig()) == {"learning_rate": 0.003, "max_epoch": 200}
    assert space.holds(space.of(TrainingConfig()))
    assert not space.holds({"learning_rate": 0.003, "max_epoch": 205})
    assert not space.holds({"learning_rate": 0.4})
    assert not space.holds({"momentum": 0.5})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "space is ''; it has to name what is searched"),
        ("lr", "space has 'lr'; an entry has to be a name with its values"),
        ("lr=1..2", "space has 'lr'; what can be searched is"),
        ("seed=1|2", "space has 'seed'; what can be searched is"),
        ("momentum=0..0.5, momentum=0..0.9", "space has 'momentum' twice; name it once, with all its values."),
        ("learning_rate=0.1..inf", "space has learning_rate=0.1..inf; 'inf' has to be a finite number."),
        ("learning_rate=0.1..x", "space has learning_rate=0.1..x; 'x' has to be a finite number."),
        ("max_epoch=1.5..4", "space has max_epoch=1.5..4; '1.5' has to be a whole, finite number."),
        ("learning_rate=1..0.1", "space has learning_rate=1..0.1; the lower end has to be below the upper one."),
        ("learning_rate=0..1 log", "space has learning_rate=0..1 log; with log, the lower end has to be above 0."),
        ("max_epoch=50..405 step 10", "the step has to be above 0 and to divide the range, 355."),
        ("max_epoch=50..400 step 0", "the step has to be above 0 and to divide the range, 350."),
        ("max_epoch=50..400 by 10", "after a range stands nothing, log, or step with a number."),
        ("activation=a..b", "activation has alternatives, as in activation=a|b, and no range."),
        ("activation=relu|tanh", "activation is 'tanh'; it has to be relu or sigmoid or gelu."),
        ("batch_size=32|x", "space has batch_size=32|x"),
        ("momentum=0.9", "space has momentum=0.9, a single value; give a range"),
        ("momentum=0..1", "momentum is 1.0; it has to be a number from 0 to below 1."),
        ("batch_size=32|32", "space has batch_size=32|32; each alternative has to be there once."),
    ],
)
def test_what_is_no_space_is_one_line_with_what_is_accepted(text, line):
    with pytest.raises(UsageError) as caught:
        Space.parse(text)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


positive = st.floats(1e-6, 1e3, allow_nan=False)


@st.composite
def ranges(draw):
    low, high = sorted(draw(st.lists(positive, min_size=2, max_size=2, unique=True)))
    return f"{low}..{high}{draw(st.sampled_from(['', ' log']))}"


@st.composite
def stepped(draw):
    low, steps, step = draw(st.integers(1, 500)), draw(st.integers(1, 50)), draw(st.integers(1, 20))
    return f"{low}..{low + steps * step} step {step}"


texts = st.fixed_dictionaries(
    {},
    optional={
        "learning_rate": ranges(),
        "hinge_margin": ranges(),
        "max_epoch": stepped(),
        "batch_size": st.lists(st.integers(1, 9999).map(str), min_size=2, max_size=5, unique=True).map("|".join),
        "hidden_sizes": st.sampled_from(["128|256x64", "8x8x8|16|9"]),
        "activation": st.sampled_from(["relu|gelu", "sigmoid|relu|gelu"]),
        "init_std": st.one_of(ranges(), st.just("0.01|he")),
    },
).filter(bool)


@given(texts, st.data())
def test_text_of_a_space_is_that_space_and_its_draws_are_trainable(values, data):
    space = Space.parse(" , ".join(f"{name} = {text}" for name, text in values.items()))
    assert Space.parse(str(space)) == space
    assert list(space.values) == list(values)
    drawn = {}
    for name, distribution in space.distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            drawn[name] = data.draw(st.sampled_from(distribution.choices))
        elif isinstance(distribution, IntDistribution):
            steps = (distribution.high - distribution.low) // distribution.step
            drawn[name] = distribution.low + data.draw(st.integers(0, steps)) * distribution.step
        else:
            drawn[name] = data.draw(st.floats(distribution.low, distribution.high))
    assert space.holds(drawn)
    config = space.configure(BASE, drawn)
    assert space.of(config) == drawn
    assert config.dataset == "digits"


@given(st.text())
def test_any_text_is_a_space_or_a_usage_error(text):
    try:
        space = Space.parse(text)
    except UsageError as error:
        assert "\n" not in str(error) or "\n" in text
    else:
        assert set(space.values) <= set(SEARCHABLE)


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"dataset": "mnist"}, "'dataset' is no hyperparameter that a trial can have"),
        ({"depth": 3}, "'depth' is no hyperparameter that a trial can have"),
        ({"momentum": 2.0}, "momentum is 2.0; it has to be a number from 0 to below 1."),
        ({"batch_size": "many"}, "cannot be read"),
    ],
)
def test_parameters_that_no_training_can_use_are_refused(parameters, line):
    with pytest.raises(UsageError, match=line):
        Space.parse(DEFAULT_SPACE).configure(BASE, parameters)
