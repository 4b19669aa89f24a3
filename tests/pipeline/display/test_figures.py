from dataclasses import replace
from itertools import product

import matplotlib.image
import numpy as np
import pytest

from pipeline import commands
from pipeline.config import TrainingConfig
from pipeline.data import datasets
from pipeline.data.doubt import Prediction
from pipeline.display import figures
from pipeline.display.figures import ScoredPredictions

GRID = [
    TrainingConfig(hidden_sizes=sizes, activation=activation, loss=loss)
    for sizes, activation, loss in product(((128,), (256, 64)), ("relu", "sigmoid", "gelu"), ("euclidean", "hinge"))
]
CURVE = [(5, 0.5), (10, 0.8)]


@pytest.fixture
def drawn(tmp_path):
    """A figure as the picture that it becomes: what cannot be drawn fails here."""

    def draw(figure):
        figure.savefig(tmp_path / "figure.png")
        return matplotlib.image.imread(tmp_path / "figure.png")

    return draw


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend(of):
    """Of axes, or of a whole figure."""
    (found,) = [of.get_legend()] if hasattr(of, "get_legend") else of.legends
    return [text.get_text() for text in found.get_texts()]


@pytest.fixture
def predictions():
    """Of three classes: 0 is right, 1 is taken for 2 narrowly and widely, 2 for 0."""
    scores = np.array([[9, 0, 0], [0, 4, 5], [0, 1, 9], [3, 0, 1], [0, 2, 9]])
    return ScoredPredictions(scores, np.array([0, 1, 1, 2, 2]))


def test_confusions_are_counted_by_class(predictions):
    np.testing.assert_array_equal(predictions.confusions(), [[1, 0, 0], [0, 0, 2], [1, 0, 1]])


def test_the_most_confident_mistakes_come_first(predictions):
    np.testing.assert_array_equal(predictions.mistakes(), [2, 3, 1])
    np.testing.assert_array_equal(predictions.mistakes(most=1), [2])


def test_labels_of_one_byte_do_not_overflow():
    scores = np.eye(40)
    np.testing.assert_array_equal(ScoredPredictions(scores, np.arange(40, dtype=np.uint8)).confusions(), np.eye(40))


def test_the_confusion_matrix_shows_the_counts(predictions, drawn):
    figure = figures.confusion_matrix("a network", predictions)
    assert texts(figure.axes[0]) == ["1", "", "", "", "", "2", "1", "", "1"]
    assert drawn(figure).std() > 0


LONG = "sigmoid-softmax_cross_entropy-2h, learning_rate 0.0123, 50 epochs, he: the 10000 validation images of MNIST"


@pytest.mark.parametrize(
    "draw",
    [
        lambda predictions: figures.confusion_matrix(LONG, predictions),
        lambda _: figures.training_curves(LONG, {"test/loss": CURVE, "test/accuracy": CURVE}),
        lambda _: figures.mistakes(LONG, np.zeros((3, 8, 8), np.uint8), np.zeros(3), np.zeros(3)),
        lambda _: figures.overlay(LONG, {GRID[0]: CURVE}, "test accuracy"),
        lambda _: figures.accuracy_map(LONG, {GRID[0]: 0.9}),
    ],
)
def test_no_title_is_clipped_or_stands_on_the_axes(predictions, drawn, draw):
    figure = draw(predictions)
    drawn(figure)
    title = figure._suptitle.get_window_extent()
    assert title.x0 >= 0
    assert title.x1 <= figure.bbox.x1
    assert title.y1 <= figure.bbox.y1
    assert title.y0 >= max(axes.get_tightbbox().y1 for axes in figure.axes)


def test_heat_maps_have_a_labelled_scale_of_colours(predictions, drawn):
    confusions = figures.confusion_matrix("a network", predictions)
    assert confusions.axes[1].get_ylabel() == "share of the images of the class (%)"
    assert confusions.axes[1].get_ylim() == (0, 100)
    accuracies = figures.accuracy_map("grid", {GRID[0]: 0.5, GRID[1]: 0.9})
    drawn(accuracies)
    assert accuracies.axes[-1].get_ylabel() == "accuracy (%)"
    np.testing.assert_allclose(accuracies.axes[-1].get_ylim(), (50, 90))


def test_training_curves_stand_by_epoch_grouped_by_kind(drawn):
    curves = {f"{part}/{kind}": CURVE for part in ("train", "test") for kind in ("loss", "accuracy")}
    figure = figures.training_curves("a network", curves)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (mean over images)", "accuracy (%)"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
        assert legend(axes) == ["train", "test"]
        assert [tuple(line.get_xdata()) for line in axes.lines] == [(5, 10), (5, 10)]
    assert tuple(figure.axes[1].lines[0].get_ydata()) == (50, 80)
    drawn(figure)


def test_mistakes_are_shown_with_what_they_are(drawn):
    images = np.full((13, 8, 8), 255, np.uint8)
    figure = figures.mistakes("a network", images, np.full(13, 3), np.full(13, 5))
    assert texts(figure.axes[0]) == ["3, is 5"] * 13
    assert drawn(figure).std() > 0


def test_a_network_without_mistakes_has_a_picture_that_says_so(drawn):
    nothing = np.zeros((0, 8, 8), np.uint8)
    figure = figures.mistakes("a network", nothing, np.zeros(0), np.zeros(0))
    assert figure.get_suptitle() == "a network: none"
    drawn(figure)


def test_samples_show_ten_of_each_class(data_dir, drawn):
    figure = figures.samples(datasets.load("digits", data_dir))
    assert texts(figure.axes[0]) == [str(label) for label in range(10) for _ in range(10)]
    drawn(figure)


def test_predictions_show_the_first_hundred_and_mark_doubt(drawn):
    images = np.zeros((120, 8, 8), np.uint8)
    found = [Prediction(str(number), 7, [0.0] * 10, "") for number in range(120)]
    found[1], found[2] = found[1]._replace(doubt="close"), found[2]._replace(predicted=None, doubt="blank")
    figure = figures.predictions(images, found)
    assert texts(figure.axes[0]) == ["0: 7", "1: 7?", "2: -?", *(f"{number}: 7" for number in range(3, 100))]
    drawn(figure)


def test_the_overlay_has_all_networks_on_one_axis_a_depth(drawn):
    figure = figures.overlay("grid", dict.fromkeys(GRID, CURVE), "test accuracy")
    assert [axes.get_title() for axes in figure.axes] == ["1 hidden layer (128)", "2 hidden layers (256x64)"]
    names = [
        f"{activation}, {loss}" for activation, loss in product(("relu", "sigmoid", "gelu"), ("euclidean", "hinge"))
    ]
    for axes in figure.axes:
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "test accuracy (%)")
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
        assert len(looks) == len(names)
    assert legend(figure) == names
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    drawn(figure)


def test_the_overlay_names_what_else_differs_and_each_seed_once(drawn):
    weak = TrainingConfig(activation="sigmoid")
    sweep = [replace(weak, learning_rate=rate, seed=seed) for rate in (0.01, 0.02) for seed in (0, 1)]
    figure = figures.overlay("sweep", dict.fromkeys(sweep, CURVE), "test accuracy")
    (axes,) = figure.axes
    assert legend(figure) == ["sigmoid-euclidean-1h lr 0.01", "sigmoid-euclidean-1h lr 0.02"]
    assert len(axes.lines) == 4
    assert len({line.get_color() for line in axes.lines}) == 2
    drawn(figure)


def test_the_accuracy_map_has_a_cell_for_every_network(drawn):
    figure = figures.accuracy_map("grid", {config: 0.5 + number / 100 for number, config in enumerate(GRID)})
    assert texts(figure.axes[0]) == ["50.00%", "51.00%", "52.00%", "53.00%", "54.00%", "55.00%"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["relu", "sigmoid", "gelu"]
    drawn(figure)


def test_the_accuracy_map_shows_the_mean_of_seeds_and_leaves_gaps_empty(drawn):
    accuracies = {replace(GRID[0], seed=seed): accuracy for seed, accuracy in enumerate((0.8, 0.9))}
    accuracies[GRID[3]] = 0.7
    figure = figures.accuracy_map("grid", accuracies)
    assert texts(figure.axes[0]) == ["85.00%", "", "", "70.00%"]
    drawn(figure)


def test_every_run_has_its_pictures(trained):
    files = {file.path for file in trained.store.client.list_artifacts(trained.outcome.run_id)}
    assert {"training_curves.png", "confusion_matrix.png", "mistakes.png"} <= files


def test_a_run_too_short_for_a_point_of_its_curve_has_them_as_well(store, settings):
    config = TrainingConfig(dataset="digits", max_epoch=1, disp_freq=1000, test_epoch=1000)
    outcome = commands.train_one(config, settings, {})
    assert {"training_curves.png"} <= {file.path for file in store.client.list_artifacts(outcome.run_id)}


def test_a_grid_has_the_overlay_and_the_map(trained, settings):
    commands.train_all("grid", [trained.outcome.config], settings, {})
    grid = next(trained.store.search("attributes.run_name LIKE 'grid digits%'"))
    files = {file.path for file in trained.store.client.list_artifacts(grid.run_id)}
    assert {"curves.png", "accuracy_map.png", "results.md"} <= files


@pytest.mark.parametrize("shape", [(1, 784), (14, 28), (784, 1)])
@pytest.mark.parametrize("count", [1, 3])
def test_images_of_any_shape_are_drawn(shape, count, drawn):
    images = np.full((count, *shape), 128, np.uint8)
    found = [Prediction(f"{number}.png", 7, [0.0] * 10, "") for number in range(count)]
    assert drawn(figures.predictions(images, found)).size
    labels = np.arange(count)
    assert drawn(figures.mistakes("mistakes", images, labels + 1, labels)).size
