"""The pages of MLflow's interface on which a person looks at a grid; each is shown whole and a picture of it kept."""

import json
from dataclasses import dataclass
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Run
from selenium.webdriver.common.by import By

_EXPANDER = '[data-component-id$="runnamecellrenderer.tsx_46"]'
_METRIC = "test_accuracy"
_SECTIONS = '[data-testid$="compare-runs-section-header"]'


@dataclass(frozen=True)
class Grid:
    """A parent run and its children, the best one first."""

    parent: Run
    children: list[Run]

    @classmethod
    def largest(cls, address, name):
        """The grid with the most networks, of those whose parents have this name."""
        client = MlflowClient(address)
        experiments = [each.experiment_id for each in client.search_experiments()]
        parents = client.search_runs(experiments, f"attributes.run_name = '{name}'")
        grids = [cls(parent, cls._children(client, parent)) for parent in parents]
        return max(grids, key=lambda grid: len(grid.children))

    @staticmethod
    def _children(client, parent):
        of_parent = f"tags.mlflow.parentRunId = '{parent.info.run_id}' and attributes.status = 'FINISHED'"
        return list(client.search_runs([parent.info.experiment_id], of_parent, order_by=[f"metrics.{_METRIC} DESC"]))

    @property
    def name(self):
        return self.parent.info.run_name

    @property
    def names(self):
        return [run.info.run_name for run in self.children]

    @property
    def home(self):
        return f"experiments/{self.parent.info.experiment_id}/runs"

    def page(self, run):
        return f"{self.home}/{run.info.run_id}"


def sections(ui):
    """The groups in which the charts of a page stand."""
    return [each.text.split("\n")[0] for each in ui.find(_SECTIONS)]


def runs(ui, grid):
    """The experiment's runs, as they are when the page is opened."""
    ui.open(grid.home)
    ui.shows(grid.name)
    ui.keep("runs")


def expand(ui, grid):
    """The parent's children, by a click on its sign."""
    ui.click_in_row(grid.name, _EXPANDER)
    ui.shows(*grid.names)
    ui.keep("runs_expanded")


def charts(ui, grid):
    """The curves of all networks over each other, in the view that the parent's description links to."""
    ui.open(grid.home, viewStateShareKey=grid.parent.info.run_id, compareRunsMode="CHART")
    ui.shows("test", "train", *grid.names)
    ui.until(lambda: len(ui.find(".js-plotly-plot .scatterlayer .trace")) >= len(grid.children), lambda: "no curves")
    ui.keep("charts")


def description(ui, grid):
    """The parent's page, with all that its description says."""
    ui.open(grid.page(grid.parent))
    ui.shows("Description", "Child runs")
    ui.click("button", "Show more")
    ui.shows("Show less", grid.names[0])
    ui.keep("description")


def comparison(ui, grid):
    """The networks side by side: parallel coordinates up to the accuracy, and the parameters that differ."""
    ui.open(
        "compare-runs",
        runs=quote(json.dumps([run.info.run_id for run in grid.children])),
        experiments=quote(json.dumps([grid.parent.info.experiment_id])),
    )
    ui.shows(f"Comparing {len(grid.children)} Runs from 1 Experiment", "Parallel Coordinates Plot")
    ui.until(lambda: coordinates(ui), lambda: "no parallel coordinates")
    if not coordinates(ui)[-1].endswith("accuracy"):  # a store of before the metrics had their order
        _choose_metric(ui)
    ui.click('[aria-label="Parameters - Show diff only"]')
    ui.until(lambda: "batch_size" not in ui.text, lambda: "parameters that do not differ")
    ui.keep("comparison")


def coordinates(ui):
    """The names of the axes of the parallel coordinates."""
    return [each.text for each in ui.find(".parcoords .axis-title")]


def _choose_metric(ui):
    """Put the accuracy in the place of the metric that the page has chosen."""
    select = "//*[text()='Metrics:']/following::div[contains(@class, 'select-multiple')][1]"
    ui.driver.find_element(By.XPATH, f"{select}//*[contains(@class, 'item-remove')]").click()
    ui.driver.find_element(By.XPATH, select).click()
    ui.click(f'[class*="select-item-option"][title="{_METRIC}"]')
    ui.until(lambda: coordinates(ui)[-1] == _METRIC, lambda: f"no axis of {_METRIC}")


def ranking(ui, grid):
    """The networks in that view as a table."""
    ui.open(grid.home, viewStateShareKey=grid.parent.info.run_id)
    ui.shows("Parameters", "Metrics", _METRIC, *grid.names)
    ui.keep("ranking")


def network(ui, grid):
    """The page of the best network."""
    ui.open(grid.page(grid.children[0]))
    ui.shows(grid.names[0], "Description", "Parent run", grid.name, _METRIC)
    ui.click("button", "Show more")
    ui.shows("Show less")
    ui.keep("network")


def curves(ui, grid):
    """The curves of the best network."""
    ui.open(f"{grid.page(grid.children[0])}/model-metrics")
    ui.shows("test", "train")
    ui.until(lambda: ui.find(".js-plotly-plot .scatterlayer .trace"), lambda: "no curves")
    ui.keep("curves")


def artifact(ui, grid, run, name):
    """A picture among a run's artifacts."""
    ui.open(f"{grid.page(run)}/artifacts/{name}", afresh=True)
    ui.shows(f"artifacts/{name}")
    ui.until(lambda: any(image_is_whole(ui, each) for each in ui.find("img")), lambda: f"no picture {name}")
    ui.keep(name.removesuffix(".png"))


def image_is_whole(ui, image):
    return ui.driver.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 300", image)


def model(ui, grid):
    """The page of the best network's model."""
    (output,) = grid.children[0].outputs.model_outputs
    ui.open(f"experiments/{grid.parent.info.experiment_id}/models/{output.model_id}")
    ui.shows("About this logged model", "Ready", grid.names[0], _METRIC)
    ui.keep("model")
