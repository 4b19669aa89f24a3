"""The SLURM section of docs/scaling.md: its program is run as it stands there, with stand-ins for SLURM's commands."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import psutil
import pytest
from markdown_it import MarkdownIt

from pipeline.data import datasets
from tests.crash.grids import REPOSITORY, until

pytestmark = pytest.mark.long
pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not here (pip install '.[cluster]')")

SBATCH = """\
#!/bin/sh
# Keeps the job script, because the caller removes its own, and starts it in a process group whose id is the job's.
script=$(mktemp "$JOBS/XXXXXX") && cp "$1" "$script"
setsid bash "$script" > "$script.log" 2>&1 < /dev/null &
ln "$script" "$JOBS/$!.sh"
echo "Submitted batch job $!"
"""
SCANCEL = """\
#!/bin/sh
kill -TERM -- "-$1"
"""


class Slurm:
    """The cluster of the documentation on the loopback interface, and the jobs that it submitted."""

    def __init__(self, folder):
        self.folder = folder
        self.spool = folder / "spool"
        for needed in (self.spool, folder / "bin", folder / "tmp"):
            needed.mkdir(parents=True)
        for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        [code] = [
            token.content
            for token in MarkdownIt().parse((REPOSITORY / "docs" / "scaling.md").read_text())
            if token.type == "fence" and token.info == "python"
        ]
        (folder / "cluster.py").write_text(code)
        environment = {
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
            "PYTHONPATH": str(REPOSITORY),
            "JOBS": str(self.spool),
            "TMPDIR": str(folder / "tmp"),
            "PIPELINE_DATA_DIR": str(folder / "data"),
        }
        with (folder / "cluster.log").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "cluster.py", "lo", "2"],
                cwd=folder,
                env=os.environ | environment,
                stdout=output,
                stderr=output,
            )

    @property
    def log(self):
        return (self.folder / "cluster.log").read_text()

    def address(self):
        """The address of the scheduler, once it is known."""
        file = self.folder / "scheduler.txt"
        until(lambda: self.process.poll() is not None or (file.exists() and file.read_text()), "scheduler.txt")
        assert self.process.poll() is None, self.log
        return file.read_text()

    def jobs(self):
        """The job scripts so far by the ids of the jobs, the first one first."""
        scripts = sorted(self.spool.glob("*.sh"), key=lambda path: path.stat().st_mtime_ns)
        return {int(path.stem): path.read_text() for path in scripts}

    def processes(self):
        """All living processes of the cluster and of its jobs."""
        groups = self.jobs()
        return [each for each in psutil.process_iter() if each.pid == self.process.pid or _living_group(each) in groups]

    def kill(self):
        self.process.kill()
        self.process.wait()
        for job in self.jobs():
            with suppress(ProcessLookupError):
                os.killpg(job, signal.SIGKILL)


def _living_group(process):
    with suppress(psutil.Error, ProcessLookupError):
        return os.getpgid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    return None


@contextmanager
def slurm_in(folder):
    slurm = Slurm(folder)
    try:
        yield slurm
    finally:
        slurm.kill()


def test_the_documented_program_has_slurm_train_a_grid_and_replaces_a_lost_job(new_grid, uninterrupted, tmp_path):
    with slurm_in(tmp_path / "slurm") as slurm, new_grid("grid") as grid:
        grid.networks = (*grid.networks, "--scheduler", slurm.address())
        command = grid.start()
        until(lambda: command.ended or len(grid.checkpointed()) == 2, "a checkpoint of both jobs")
        listening = [each for process in slurm.processes() for each in process.net_connections("inet")]
        assert {each.laddr.ip for each in listening if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        os.killpg(next(iter(slurm.jobs())), signal.SIGKILL)
        assert command.end() == 0, command.output
        assert grid.results() == uninterrupted
        assert ": goes on after epoch " in command.output
        assert datasets.load_intact(slurm.folder / "data" / "digits")
        until(lambda: len(slurm.jobs()) == 3, "a job in the place of the lost one")
        for script in slurm.jobs().values():
            assert "#SBATCH --cpus-per-task=1\n#SBATCH --mem=2G\n#SBATCH -t 04:00:00\n" in script
            assert "--nthreads 1" in script

        slurm.process.send_signal(signal.SIGTERM)
        assert slurm.process.wait(60) == 0, slurm.log
        until(lambda: not slurm.processes(), "the end of all jobs")
        assert "Traceback" not in slurm.log
