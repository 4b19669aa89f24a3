"""What a person sees of a grid in MLflow's interface, in a real browser on a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import pages
from tests.browser.ui import CHROMIUM, DRIVER, user_interface
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="there is no Chromium here; on Debian, apt-get install chromium chromium-driver",
    ),
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("browser"),
]

OPTIONS = ("--dataset", "digits", "--hidden-sizes", "128", "--max-epoch", "10", "--learning-rate", "0.1")


@pytest.fixture(scope="module")
def ui(tmp_path_factory, data_dir):
    """The interface over a grid of nine networks; SCREENSHOTS names a folder to keep its pictures in."""
    folder = tmp_path_factory.mktemp("browser")
    store = folder / "mlflow.db"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")} | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}",
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "pipeline", "grid", *OPTIONS, "--data-dir", str(data_dir)]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    pictures = Path(os.environ.get("SCREENSHOTS", folder / "screenshots")).resolve()
    with user_interface(store, pictures, log=folder / "server.log") as ui:
        yield ui


@pytest.fixture(scope="module")
def grid(ui):
    return pages.Grid.largest(ui.address, "grid digits, lr 0.1, 10 epochs")


def test_the_children_are_folded_under_their_parent(ui, grid):
    pages.runs(ui, grid)
    assert not any(name in ui.text for name in grid.names)
    pages.expand(ui, grid)
    assert len(set(grid.names)) == 9
    assert all(name.endswith("-1h") for name in grid.names)


def test_the_curves_of_all_networks_are_grouped(ui, grid):
    pages.charts(ui, grid)
    assert pages.sections(ui)[:3] == ["test", "train", "Model metrics"]


def test_the_parent_says_what_came_out_and_how_to_compare(ui, grid):
    pages.description(ui, grid)
    best = grid.children[0]
    assert f"{best.data.metrics['test_accuracy']:.2%} of the 360 test images" in ui.text
    assert "To compare the networks:" in ui.text
    ui.follow("Compare them")
    ui.shows("Comparing 9 Runs from 1 Experiment")
    ui.back()
    ui.follow("their ranking and curves")
    ui.shows("Run Name", *grid.names)
    ui.back()


def test_the_comparison_shows_what_differs(ui, grid):
    pages.comparison(ui, grid)
    assert pages.coordinates(ui) == ["activation", "loss", "test/accuracy"]
    ui.shows(*grid.names, "test/loss", "train/accuracy", "train/loss", "test_accuracy", "train_accuracy")
    assert not any(name in ui.text for name in ("momentum", "hidden_layers", "batch_size"))


def test_the_ranking_has_the_best_first_and_what_tells_them_apart(ui, grid):
    pages.ranking(ui, grid)
    columns = {each.text for each in ui.find(".ag-header-cell")}
    assert {"activation", "loss", "hidden_sizes", "test_accuracy", "train_accuracy"} <= columns
    assert ui.text.index(grid.names[0]) < ui.text.index(grid.names[-1])


def test_a_network_says_how_to_use_it_and_shows_its_curves(ui, grid):
    pages.network(ui, grid)
    assert f'mlflow.pyfunc.load_model("runs:/{grid.children[0].info.run_id}/{grid.names[0]}")' in ui.text
    pages.curves(ui, grid)
    assert pages.sections(ui)[:2] == ["test", "train"]


@pytest.mark.parametrize("name", ["training_curves.png", "confusion_matrix.png", "mistakes.png"])
def test_a_network_has_its_pictures(ui, grid, name):
    pages.artifact(ui, grid, grid.children[0], name)


@pytest.mark.parametrize("name", ["curves.png", "accuracy_map.png"])
def test_the_parent_has_its_pictures(ui, grid, name):
    pages.artifact(ui, grid, grid.parent, name)


def test_the_model_has_a_page(ui, grid):
    pages.model(ui, grid)
    ui.shows(*(f"{value}" for name, value in grid.children[0].data.metrics.items() if "_" in name), "activation")
