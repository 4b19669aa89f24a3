"""What the tests of leases in a store share: short times, and processes that are not here."""

from dataclasses import replace

import pytest

from pipeline.tracking import lease
from pipeline.tracking.host import this_process
from pipeline.tracking.lease import Lease


@pytest.fixture
def short_times(monkeypatch):
    """Leases that end in half a second."""
    for name, seconds in {"TAKEOVER": 0.5, "HOLD": 0.25, "RENEWAL": 0.5, "SETTLE": 0.05}.items():
        monkeypatch.setattr(lease, f"{name}_SECONDS", seconds)


@pytest.fixture
def no_wait(monkeypatch):
    """Takeovers that do not wait for others who might have decided the same."""
    monkeypatch.setattr(lease.Clock, "sleep", lambda _clock, _seconds: None)


def texts_of(holder, **facts):
    """The lease of a process that differs from this one in some facts, as tags."""
    process = replace(this_process(), **facts)
    return {"lease": str(Lease(process, holder)), "heartbeat": f"{holder} 0"}


ELSEWHERE = texts_of("b", host="elsewhere", pid=17)
DEAD = texts_of("c", started="1")


def give(store, run_id, tags):
    """Set tags behind the back of a run's owner."""
    for key, value in tags.items():
        store.client.set_tag(run_id, key, value)
