"""Pictures of MLflow's interface over a store, for the documentation.

python -m tests.browser.screenshots mlflow.db docs/images --grid "grid mnist"
"""

import argparse
import sqlite3
import tempfile
from pathlib import Path

from pipeline.tracking.store import Store
from tests.browser import pages
from tests.browser.ui import user_interface

SHOWN = (
    pages.runs,
    pages.expand,
    pages.charts,
    pages.description,
    pages.comparison,
    pages.ranking,
    pages.network,
    pages.curves,
    pages.model,
)


def copy(store, to):
    """A copy of a database that others may be writing to: the server would upgrade it and write to it as well."""
    with sqlite3.connect(f"file:{store.resolve()}?mode=ro", uri=True) as source, sqlite3.connect(to) as target:
        source.backup(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="file of the SQLite database; it is only read")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--grid", default="grid mnist", help="name of the parent run (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy(options.store, Path(folder, "mlflow.db"))
        with user_interface(Path(folder, "mlflow.db"), options.out.resolve(), log=Path(folder, "server.log")) as ui:
            grid = pages.Grid.largest(ui.address, options.grid)
            # The view of its networks, for a grid of before there was one; only the copy gets it.
            store = Store(ui.address, grid.parent.info.experiment_id)
            store.ranking_link(grid.parent.info.run_id, [run.info.run_id for run in grid.children])
            for show in SHOWN:
                show(ui, grid)
                print(show.__name__)


if __name__ == "__main__":
    main()
