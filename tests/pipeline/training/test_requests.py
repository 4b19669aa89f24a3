"""How much a training asks of a tracking server: what many workers ask for at once decides how many it bears."""

from collections import Counter

import pytest

from pipeline.config import TrainingConfig
from pipeline.tracking.store import Store
from pipeline.training import signals
from pipeline.training.networks import Settings
from pipeline.training.task import Status, Task
from pipeline.training.trainer import train
from tests.crash.proxy import Proxy
from tests.servers import mlflow_server

pytestmark = pytest.mark.long


@pytest.fixture
def proxy(tmp_path, empty_store):
    """A proxy in front of a real tracking server, which counts requests."""
    command = ["server", "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    with (
        mlflow_server(*command, log=tmp_path / "server.txt", answering="/health") as address,
        Proxy(int(address.rpartition(":")[2])) as proxy,
    ):
        yield proxy
        proxy.shutdown()


def test_a_network_of_two_epochs_makes_at_most_twenty_requests(proxy, data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "requests")
    store = Store.open()
    settings = Settings(data_dir=data_dir, checkpoint_dir=tmp_path / "checkpoints").resolved()
    config = TrainingConfig(dataset="digits", max_epoch=2)
    task = Task(config, "f", store, None, settings.data_dir, settings.checkpoint_dir)
    proxy.requests.clear()
    with signals.stop_on_signal() as stop:
        outcome = train(task, report=lambda _event: None, stop=stop)
    assert outcome.status == Status.FINISHED
    assert len(proxy.requests) <= 20, Counter(proxy.requests)
    run = store.client.get_run(outcome.run_id)
    assert run.data.metrics["test_accuracy"] == outcome.metrics["test_accuracy"]
    assert store.history(outcome.run_id, "test/accuracy")
    assert "load_model" in run.data.tags["mlflow.note.content"]
    assert {"heartbeat", "lease"}.isdisjoint(run.data.tags)
    [model] = store.models(outcome.run_id)
    assert {metric.key for metric in model.metrics} == set(outcome.metrics)
