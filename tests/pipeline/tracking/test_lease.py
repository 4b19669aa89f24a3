"""The rules of a lease, one by one, on a record in memory and a clock that stands still until somebody sleeps."""

import json
import threading
from dataclasses import replace

import pytest

from pipeline.tracking import lease
from pipeline.tracking.host import this_process
from pipeline.tracking.lease import HOLD_SECONDS, RENEWAL_SECONDS, TAKEOVER_SECONDS, Lease, Lost, Watch, lease_in, take


class Memory(dict):
    """A record in memory."""

    def read(self):
        return dict(self)

    def write(self, key, text):
        self[key] = text


class ManualClock(lease.Clock):
    time = 0.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def record():
    return Memory()


@pytest.fixture
def held(record, clock):
    return take(record, {}, "Run relu (1234)", clock)


def elsewhere(holder="b"):
    return Lease(replace(this_process(), host="elsewhere", pid=17), holder)


def put(record, other, renewals=0):
    record.update(lease=str(other), heartbeat=f"{other.holder} {renewals}")


def test_a_holder_writes_without_asking_for_a_while_and_then_asks_first(held, record, clock):
    put(record, elsewhere())
    clock.sleep(HOLD_SECONDS - 1)
    held.check()
    clock.sleep(1)
    with pytest.raises(Lost) as lost:
        held.check()
    assert str(lost.value) == (
        "Run relu (1234) was taken over by process 17 on elsewhere; this process writes nothing more to it."
    )
    put(record, held.lease)
    with pytest.raises(Lost):  # what was lost once stays lost
        held.check()


def test_a_holder_that_finds_its_own_lease_renews_it_and_goes_on(held, record, clock):
    clock.sleep(100 * TAKEOVER_SECONDS)
    held.check()
    assert record["heartbeat"] == f"{held.lease.holder} 1"
    clock.sleep(HOLD_SECONDS - 1)
    held.check()
    assert record["heartbeat"] == f"{held.lease.holder} 1"


def test_a_record_without_a_lease_is_nobody_s(held, record):
    record["lease"] = ""
    with pytest.raises(Lost, match=r"^Run relu \(1234\) no longer belongs to this process, which writes nothing more"):
        held.renew()


def test_a_renewal_never_replaces_another_s_lease(held, record):
    put(record, elsewhere(), renewals=3)
    before = dict(record)
    with pytest.raises(Lost):
        held.renew()
    assert record == before


def test_the_time_of_a_renewal_is_that_before_it_read(held, record, clock):
    class Stopped(Memory):
        def read(self):
            texts = super().read()
            clock.sleep(HOLD_SECONDS)  # this process is stopped between its look and its write
            return texts

    held.record = Stopped(record)
    held.renew()
    put(held.record, elsewhere())
    with pytest.raises(Lost):
        held.check()


@pytest.mark.parametrize(
    "text",
    ["no JSON", "[]", "{}", "null", "7", '{"holder": "a"}', "[" * 7000]
    + [
        json.dumps(json.loads(str(elsewhere())) | change)
        for change in ({"pid": "1"}, {"host": None}, {"pid": True}, {"pid": 10**30}, {"pid": -1})
    ],
    ids=["text", "list", "no fields", "null", "number", "one field", "nested", "pid text", "no host", "pid true",
         "pid huge", "pid negative"],
)  # fmt: skip
def test_a_lease_that_cannot_be_read_counts_as_none(text, caplog):
    assert lease_in({"lease": text}) is None
    assert Watch().is_free({"lease": text, "heartbeat": ""})
    assert "a lease that cannot be read counts as none" in caplog.text


def test_a_lease_reads_as_it_was_written():
    assert lease_in({"lease": str(elsewhere())}) == elsewhere()


def test_what_is_not_held_is_free_at_once(held, record, clock):
    assert Watch(clock).is_free({})
    assert not Watch(clock).is_free(record)
    held.release()
    assert Watch(clock).is_free(record)
    dead = Lease(replace(this_process(), started="1"), "a")
    assert Watch(clock).is_free({"lease": str(dead)})


def test_what_this_process_gave_up_it_may_take_again_at_once(held, record, clock):
    held.give_up(lambda: None)
    assert Watch(clock).is_free(record)
    again = take(record, record.read(), "Run relu (1234)", clock)
    again.settle()
    assert lease_in(record) == again.lease


def test_a_lease_of_another_machine_is_free_when_it_was_seen_unchanged_for_long_enough(record, clock):
    put(record, elsewhere())
    watch = Watch(clock)
    for _ in range(6):
        assert not watch.is_free(record)
        clock.sleep(RENEWAL_SECONDS)
    assert watch.is_free(record)
    assert not watch.saw_renewal


def test_a_renewal_begins_the_wait_anew(record, clock):
    watch = Watch(clock)
    for renewals in range(20):
        put(record, elsewhere(), renewals)
        assert not watch.is_free(record)
        clock.sleep(RENEWAL_SECONDS)
    assert watch.saw_renewal


def test_one_that_takes_it_for_a_moment_to_end_it_is_not_at_work(record, clock):
    watch = Watch(clock)
    put(record, elsewhere("a"))
    watch.is_free(record)
    record.update(lease=str(elsewhere("b")))
    assert not watch.is_free(record)
    put(record, elsewhere("b"), renewals=1)
    assert not watch.is_free(record)
    assert not watch.saw_renewal
    put(record, elsewhere("b"), renewals=2)
    assert not watch.is_free(record)
    assert watch.saw_renewal


def test_time_in_which_nobody_looked_counts_as_one_renewal(record, clock):
    put(record, elsewhere())
    watch = Watch(clock)
    assert not watch.is_free(record)
    for _ in range(5):
        clock.sleep(1000 * TAKEOVER_SECONDS)  # the observer was suspended, and its whole machine, with the holder
        assert not watch.is_free(record)


def test_a_late_heartbeat_of_the_one_before_tells_nothing_of_the_holder(record, clock):
    put(record, elsewhere())
    watch = Watch(clock)
    watch.is_free(record)
    record["heartbeat"] = "a 8"
    watch.is_free(record)
    assert not watch.saw_renewal


def test_of_two_who_take_it_at_one_moment_the_last_has_it(record, clock):
    first, second = (take(record, {}, "Run relu (1234)", clock) for _ in range(2) if not record.clear())
    with pytest.raises(Lost):
        first.settle()
    second.settle()


def test_a_record_that_changed_since_it_was_seen_is_not_taken(record, clock):
    put(record, elsewhere())
    seen = record.read()
    put(record, elsewhere(), renewals=1)
    with pytest.raises(Lost, match="was taken over by process 17 on elsewhere at this moment"):
        take(record, seen, "Run relu (1234)", clock)
    assert record == {"lease": str(elsewhere()), "heartbeat": "b 1"}


def waited(held, clock):
    began = clock.now()
    held.settle()
    return clock.now() - began > HOLD_SECONDS


def test_one_who_is_alone_begins_at_once(record, clock):
    assert not waited(take(record, {}, "Run relu (1234)", clock), clock)


@pytest.fixture
def overwritten(record, clock):
    """A record whose holder has begun to work between the look and the write of one who was slow, and died."""
    owner = take(record, {}, "Run relu (1234)", clock)
    owner.settle()

    class Slow(Memory):  # which has looked before there was an owner
        def write(self, key, text):
            record.write(key, text)

    slow = take(Slow(), {}, "Run relu (1234)", clock)
    slow.stop_renewing()
    assert lease_in(record).is_dead
    return slow


def test_one_who_was_slow_to_write_waits_until_the_owner_must_have_seen_it(overwritten, record, clock):
    overwritten.record = record
    assert waited(overwritten, clock)


def test_the_next_one_waits_for_the_owner_that_a_dead_one_has_overwritten(overwritten, record, clock):
    take(record, record.read(), "Run relu (1234)", clock).stop_renewing()  # and dies before it has waited
    third = take(record, record.read(), "Run relu (1234)", clock)
    assert waited(third, clock)
    third.stop_renewing()
    assert not waited(take(record, record.read(), "Run relu (1234)", clock), clock)  # the third one was alone


def test_while_one_waits_the_record_does_not_say_that_it_was_alone(overwritten, record, clock, monkeypatch):
    held = take(record, record.read(), "Run relu (1234)", clock)

    def die(seconds):
        clock.time += seconds
        if clock.time > HOLD_SECONDS / 2:
            raise OSError("killed")

    monkeypatch.setattr(clock, "sleep", die)
    with pytest.raises(OSError, match="killed"):
        held.settle()
    monkeypatch.undo()
    held.stop_renewing()
    assert waited(take(record, record.read(), "Run relu (1234)", clock), clock)


@pytest.fixture
def quick_renewals(monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.01)


def test_a_thread_renews_until_the_end(quick_renewals, record):
    renewed = threading.Event()

    class Noticed(Memory):
        def write(self, key, text):
            super().write(key, text)
            if text.endswith(" 3"):
                renewed.set()

    held = take(Noticed(), {}, "Run relu (1234)")
    with held.kept():
        assert renewed.wait(60)


def test_what_was_given_up_is_ended_once_its_record_is_back(quick_renewals, held, record):
    refused, ended = [], threading.Event()

    class Out(Memory):
        def read(self):
            if len(refused) < 3:
                refused.append(1)
                raise OSError
            return dict(record)

    held.record = Out()
    with held.kept():
        held.give_up(ended.set)
    assert ended.wait(60)
    assert len(refused) == 3


def test_what_was_given_up_and_taken_over_is_left_alone(quick_renewals, held, record):
    read = threading.Event()

    class Read(Memory):
        def read(self):
            read.set()
            return super().read()

    put(record, elsewhere())
    held.record = Read(record)
    with held.kept():
        held.give_up(lambda: pytest.fail("it wrote to what is another's"))
    assert read.wait(60)
    for thread in [thread for thread in threading.enumerate() if thread.name == "lease"]:
        thread.join(60)
    assert held.record.read() == record
