"""The rules of leases under thousands of schedules; `--schedules N` for more. Broken rules are found to be broken."""

import pytest

from pipeline.errors import Lost
from pipeline.tracking.host import this_process
from pipeline.tracking.lease import HEARTBEAT, LEASE, TAKEOVER_SECONDS, Held, Watch, lease_in, new
from tests.pipeline.tracking.simulation import Process, Violation, World, simulate

ENOUGH = 1000  # schedules, in which a broken rule shows


def test_nobody_writes_to_what_another_owns_and_nothing_stays_without_an_owner(monkeypatch, request):
    holds = 0
    for seed in range(request.config.getoption("schedules")):
        try:
            world = simulate(seed, monkeypatch)
        except Violation as violation:
            pytest.fail(f"schedule {seed}: {violation}")
        holds += len(world.holds)
    assert holds > 1.2 * request.config.getoption("schedules")  # often, there was something to take over


@pytest.fixture
def overtaken():
    """A world in which the first of two processes wrote its lease, then the second: who wrote last has it."""
    world = World(seed=0)
    processes = [Process(world, name, 1) for name in ("first", "second")]
    leases = [new(), new()]
    for process, held in zip(processes, leases, strict=True):
        world.put(process, LEASE, str(held.lease))
    return world, *zip(processes, leases, strict=True)


def test_a_holder_may_write_until_one_that_wrote_its_lease_later_begins(overtaken):
    world, first, second = overtaken
    before = world.begins(*first)
    for _ in range(3):
        world.wrote(before)
    world.begins(*second)
    world.wrote(before)  # was past its check
    with pytest.raises(Violation, match="first wrote 2 times"):
        world.wrote(before)


def test_a_holder_that_was_stopped_before_its_first_write_does_not_own_what_another_began(overtaken):
    world, first, second = overtaken
    owner = world.begins(*second)
    late = world.begins(*first)
    world.wrote(late)
    with pytest.raises(Violation, match="first wrote 2 times"):
        world.wrote(late)
    world.wrote(owner)
    assert not owner.late


def renew_without_a_look(self):
    """The first rule of all: a renewal replaces whatever is there, and resets the time of the last one."""
    self.record.write(LEASE, str(self.lease))
    self._renewed = self._clock.now()


def look_only_before(self):
    """A holder that comes back between the look and the write of the one who takes over is seen by neither."""
    with self._one_at_a_time:
        began = self._clock.now()
        self._confirm()
        self._renewals += 1
        self.record.write(HEARTBEAT, f"{self.lease.holder} {self._renewals}")
        self._renewed = began


def take_the_time_after_the_look(self):
    if self._lost:
        raise self._lost
    if self.record.read().get(LEASE) != str(self.lease):
        self._lost = Lost("lost")
        raise self._lost
    began = self._clock.now()
    self.record.write(HEARTBEAT, f"{self.lease.holder} {began}")
    self._renewed = began


def renew_until_a_time(self):
    """As a lease once was: it says until when it holds, by the holder's clock."""
    with self._one_at_a_time:
        self._confirm()
        self._renewed = self._clock.now()
        self.record.write(HEARTBEAT, f"{self.lease.holder} {self._renewed + TAKEOVER_SECONDS}")


def is_past_that_time(self, texts):
    """By the observer's clock."""
    lease = lease_in(texts)
    _, _, expires = texts.get(HEARTBEAT, "").partition(" ")
    return lease is None or lease.process.is_known_dead or float(expires or 0) < self._clock.now()


def is_dead_only_if_its_process_is(self, texts, whole=Watch.is_free):
    """As it once was on one machine: what a living process gave up, or was stopped with, nobody takes."""
    lease = lease_in(texts)
    if lease and lease.process.boot == this_process().boot:
        return lease.process.is_known_dead
    return whole(self, texts)


BROKEN = {
    "a renewal that does not look": {"Held.renew": renew_without_a_look},
    "a look before the heartbeat only": {"Held.renew": look_only_before},
    "a time that is taken after the look": {"Held.renew": take_the_time_after_the_look},
    "clocks that are compared": {"Held.renew": renew_until_a_time, "Watch.is_free": is_past_that_time},
    "a living process that holds forever": {"Watch.is_free": is_dead_only_if_its_process_is},
    "no wait for others that take over": {"Held.settle": lambda _held: None},
    "no look before a write": {"Held.check": lambda _held: None},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name, monkeypatch):
    classes = {"Held": Held, "Watch": Watch}
    for rule, broken in BROKEN[name].items():
        holder, _, method = rule.partition(".")
        monkeypatch.setattr(classes[holder], method, broken)
    with pytest.raises(Violation):
        for seed in range(ENOUGH):
            simulate(seed, monkeypatch)
