"""Many networks under one parent."""

import pytest

from pipeline.tracking.acquisition import create
from pipeline.training.networks import prepared, run_networks


@pytest.mark.parametrize("run", ["finished", "deleted", "unfinished", "another store's"])
def test_checkpoints_of_runs_that_are_over_go(settings, store, tmp_path, run):
    run_id = "0" * 32 if run == "another store's" else store.client.create_run(store.experiment_id).info.run_id
    if run == "finished":
        store.client.set_terminated(run_id)
    elif run == "deleted":
        store.client.delete_run(run_id)
    folder = tmp_path / "checkpoints" / run_id
    folder.mkdir(parents=True)
    parent = create(store, "grid digits", {})
    dataset = prepared("digits", settings)
    assert run_networks(store, parent, [], dataset, settings, title="grid") == []
    assert folder.exists() == (run in {"unfinished", "another store's"})
