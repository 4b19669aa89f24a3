"""Making workers ready, with workers that are folders and environments of this process."""

import os
from types import SimpleNamespace
from unittest import mock

import pytest

from pipeline.config import TrainingConfig
from pipeline.data import datasets
from pipeline.errors import PipelineError
from pipeline.training import workers
from pipeline.training.task import Task


class Cluster:
    """Stands for Dask's client: calls a function as a worker with the folders and the environment of the test."""

    def __init__(self, folder):
        self.folder = folder
        self.environments = {}
        self.calls = []
        self.lost_after = None

    def join(self, address, **environment):
        self.environments[address] = environment

    def nthreads(self):
        return dict.fromkeys(self.environments, 1)

    def run(self, function, *args, workers, on_error="raise"):
        answers = {}
        for address in workers:
            self.calls.append((address, function.__name__))
            if function.__name__ == self.lost_after:
                self.environments.pop(address, None)
            try:
                answers[address] = self._answer(function, args, address)
            except Exception as error:
                if on_error == "raise":
                    raise
                answers[address] = error
        return answers

    def _answer(self, function, args, address):
        if address not in self.environments:
            raise OSError(f"cannot connect to {address}")
        with mock.patch.dict(os.environ, self.environments[address]):
            if function is not workers.look:
                return function(*args)
            scratch = self.folder / address / "dask-scratch-space" / "worker-x"
            return function(*args, dask_worker=SimpleNamespace(local_directory=str(scratch)))

    def count(self, function):
        return [name for _, name in self.calls].count(function)


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path / "cluster")


@pytest.fixture
def task(data_dir, tmp_path):
    return Task(TrainingConfig(dataset="digits"), "f", None, None, data_dir, tmp_path / "checkpoints")


@pytest.fixture
def notices():
    return []


@pytest.fixture
def crew(cluster, notices, monkeypatch):
    monkeypatch.setattr(workers, "_ready", {})
    return workers.Workers(cluster, "job", notices.append)


def ready(crew, cluster, task):
    crew.check(cluster.nthreads())
    crew.make_ready(task)
    return workers.with_own_folders(task, "job")


def test_workers_that_see_the_command_s_folders_use_them(crew, cluster, task, notices):
    cluster.join("a")
    cluster.join("b")
    assert ready(crew, cluster, task) == task
    assert notices == []
    assert cluster.count("begin_writing") == 0


def test_a_data_set_is_sent_once_to_each_folder_and_verified(crew, cluster, task, notices, tmp_path, data_dir):
    for address, folder in (("a", "one"), ("b", "one"), ("c", "two")):
        cluster.join(address, PIPELINE_DATA_DIR=str(tmp_path / folder))
    assert ready(crew, cluster, task).data_dir == tmp_path / "two"
    assert cluster.count("begin_writing") == 2
    assert [notice.rpartition(" ")[2] for notice in notices] == [str(tmp_path / "one"), str(tmp_path / "two")]
    for folder in ("one", "two"):
        found = datasets.load_intact(tmp_path / folder / "digits")
        assert found.digest == datasets.load("digits", data_dir).digest
    crew.make_ready(task)
    assert cluster.count("begin_writing") == 2


def test_a_damaged_copy_is_sent_again(crew, cluster, task, tmp_path):
    cluster.join("a", PIPELINE_DATA_DIR=str(tmp_path / "one"))
    (tmp_path / "one" / "digits").mkdir(parents=True)
    ready(crew, cluster, task)
    assert datasets.load_intact(tmp_path / "one" / "digits")


def test_a_worker_without_the_command_s_folders_uses_dask_s(crew, cluster, task, tmp_path, monkeypatch, data_dir):
    cluster.join("a")
    own_folder = workers._own_folder
    monkeypatch.setattr(
        workers, "_own_folder", lambda name, _of_command, scratch: own_folder(name, tmp_path / "not here", scratch)
    )
    own = ready(crew, cluster, task)
    assert own.data_dir == tmp_path / "cluster" / "a" / "dask-scratch-space" / "data"
    assert own.checkpoint_dir == tmp_path / "cluster" / "a" / "dask-scratch-space" / "checkpoints"
    assert datasets.load_intact(own.data_dir / "digits")


def test_it_is_said_once_that_checkpoint_folders_are_apart(crew, cluster, task, notices, tmp_path):
    cluster.join("a", PIPELINE_CHECKPOINT_DIR=str(tmp_path / "one"))
    cluster.join("b", PIPELINE_CHECKPOINT_DIR=str(tmp_path / "one"))
    ready(crew, cluster, task)
    assert notices == []
    for address in "cd":
        cluster.join(address, PIPELINE_CHECKPOINT_DIR=str(tmp_path / address))
        ready(crew, cluster, task)
    [notice] = notices
    assert notice.startswith("the workers share no checkpoint folder: the network of a lost worker starts again.")


def test_a_folder_seen_under_two_names_is_one(tmp_path):
    (tmp_path / "other").symlink_to(tmp_path / "one")
    (tmp_path / "one").mkdir()
    assert workers.folder_id(tmp_path / "one") == workers.folder_id(tmp_path / "other")
    assert workers.folder_id(tmp_path / "one") != workers.folder_id(tmp_path / "two")
    assert [file.name for file in (tmp_path / "one").iterdir()] == [".folder-id"]


def test_a_data_set_that_cannot_be_stored_names_the_host(crew, cluster, task, tmp_path, monkeypatch):
    monkeypatch.setattr(workers.socket, "gethostname", lambda: "node-7")
    cluster.join("tcp://10.0.0.7:1", PIPELINE_DATA_DIR=str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PipelineError) as error:
        ready(crew, cluster, task)
    assert str(error.value) == (
        f"The Dask worker at tcp://10.0.0.7:1 on node-7 lacks the data set 'digits', which cannot be stored in "
        f"{tmp_path / 'file' / 'digits'} (File exists). Make room or allow writing there, or start the worker with "
        "other folders in PIPELINE_DATA_DIR and PIPELINE_CHECKPOINT_DIR. Then run the same command again."
    )


def test_a_checkpoint_folder_that_cannot_be_written_names_the_host(crew, cluster, task, tmp_path):
    cluster.join("a", PIPELINE_CHECKPOINT_DIR=str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PipelineError, match=rf"^The Dask worker at a on .* cannot write to {tmp_path}/file \(File exi"):
        ready(crew, cluster, task)


def test_another_data_set_of_the_same_name_is_not_replaced(crew, cluster, task, tmp_path, data_dir):
    raw = datasets.read_source("digits", None, quiet=True)
    datasets._write(tmp_path / "one" / "digits", raw._replace(test_labels=raw.test_labels[::-1]))
    cluster.join("a", PIPELINE_DATA_DIR=str(tmp_path / "one"))
    with pytest.raises(PipelineError, match=rf"has another data set in {tmp_path}/one/digits\. Remove that folder"):
        ready(crew, cluster, task)


@pytest.mark.parametrize("moment", ["versions", "look", "append"])
def test_a_worker_that_is_lost_meanwhile_is_left_out(crew, cluster, task, tmp_path, moment):
    cluster.join("a", PIPELINE_DATA_DIR=str(tmp_path / "one"))
    cluster.lost_after = moment
    crew.check(cluster.nthreads())
    crew.make_ready(task)
    assert cluster.nthreads() == {}
    cluster.lost_after = None
    cluster.join("a", PIPELINE_DATA_DIR=str(tmp_path / "one"))
    assert ready(crew, cluster, task).data_dir == tmp_path / "one"


def test_a_worker_that_got_a_task_too_early_says_so(task):
    with pytest.raises(workers.NotReady):
        workers.with_own_folders(task, "a job that nobody made it ready for")
