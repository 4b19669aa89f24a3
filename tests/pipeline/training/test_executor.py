"""What running tasks on Dask leaves to a user's eyes; what it does is tested with the commands, and in tests/crash."""

import os
import subprocess
import sys

import pytest

from tests.crash.grids import REPOSITORY

AFTER_THE_CLUSTER = """
import logging
from pipeline.training.executor import run_tasks
if __name__ == "__main__":
    assert list(run_tasks([], workers=1, scheduler=None, report=print)) == []
    for name in ("distributed.batched", "distributed.client", "asyncio"):
        logging.getLogger(name).error("a connection closed while the process ended")
"""


@pytest.mark.parametrize(("asked", "said"), [({}, 0), ({"PIPELINE_VERBOSE": "1"}, 3)])
def test_dask_s_log_is_shown_only_if_asked_for_also_after_the_cluster_is_closed(tmp_path, asked, said):
    script = tmp_path / "script.py"
    script.write_text(AFTER_THE_CLUSTER)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    command = subprocess.run(
        [sys.executable, str(script)],
        env=environment | {"PYTHONPATH": str(REPOSITORY)} | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    assert command.stderr.count("a connection closed") == said
    assert bool(command.stderr) == bool(said)
