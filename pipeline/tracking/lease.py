"""Leases: who is at work on something, and when another may take it over.

Whoever works on something (a run, a trial) leaves two texts there. `lease` says who: a name drawn at random, and the
process. `heartbeat` says that this one lives: the same name, and how often it was renewed. There are two because nobody
can write one "only if it is still as I read it": a renewal that arrives late replaces a heartbeat, which no longer
counts then, and never the name of the one who has taken over.

The rules:

- The holder renews every RENEWAL_SECONDS. A renewal reads whether the lease is still its own, writes the heartbeat, and
  reads again.
- The holder may write, to what it holds, within HOLD_SECONDS of the beginning of its last successful renewal. After
  that (it was stopped, suspended, or its store was out) it renews before it writes anything.
- Another process takes over at once what nobody holds: there is no lease, its process is known to be dead, or its
  process is the asking one, which gave it up. Any other lease has to stay unchanged for TAKEOVER_SECONDS before the
  eyes of the one who waits (`Watch`). Each uses its own clock, which also counts the time of a suspended machine; the
  clocks of two machines are never compared.
- Whoever takes over writes its lease, waits for those who may have decided the same, and reads the record again: the
  one who wrote last has it. If there is another heartbeat than the one that it saw first, somebody held the record when
  it wrote, and it waits until that one must have seen the new lease. It renews only then. Should it die before, its
  lease still has the heartbeat that it saw first, by which the next one knows that it has to wait too.

To use it, say where the two texts are kept, and go through `take`:

    class TrialRecord:  # a lease.Record
        def read(self):              # -> the texts by key; other keys do no harm
            return storage.get_trial(trial_id).user_attrs
        def write(self, key, text):  # an empty text is none
            storage.set_trial_user_attr(trial_id, key, text)

    record, watch = TrialRecord(), Watch()
    ...
    texts = record.read()
    if watch.is_free(texts):                     # one who waits asks every second or so, with the same watch
        held = take(record, texts, "Trial 3")    # writes the lease; raises Lost if another was quicker
        held.settle()                            # waits a moment; raises Lost if another took it at the same moment
        with held.kept():                        # renewed by a thread
            ...
            held.check()                         # before each write: raises Lost if another has taken over
        held.release()                           # a released record is free at once

A trial that this process leaves while its storage is out: `held.give_up(end)`, inside `kept`. Once the storage is back,
the same thread calls `end` if nobody has taken the trial over; this process may take it again at once.
"""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Protocol

from pipeline.errors import Lost
from pipeline.tracking.host import ProcessIdentity, this_process

TAKEOVER_SECONDS: Final = float(os.environ.get("PIPELINE_TAKEOVER_SECONDS", "120"))
"""How long a lease has to stay unchanged before another process takes over; to be the same for all processes."""
HOLD_SECONDS: Final = TAKEOVER_SECONDS / 2
"""How long a holder writes without asking; with a request's time-out it is less than TAKEOVER_SECONDS."""
RENEWAL_SECONDS: Final = TAKEOVER_SECONDS / 6
SETTLE_SECONDS: Final = min(2.0, TAKEOVER_SECONDS / 12)
"""How long one who takes over waits for those who decided the same."""

LEASE: Final = "lease"
HEARTBEAT: Final = "heartbeat"
_log: Final = logging.getLogger(__name__)
_held: Final[set[str]] = set()
"""The names under which this process holds something."""
_handover: Final = threading.RLock()
"""Held while this process writes a lease, or ends what it gave up before: it may do both to the same record."""


class Record(Protocol):
    """Where the two texts of a lease are kept, beside others."""

    def read(self) -> Mapping[str, Any]:
        """The texts by their keys, as they are now."""

    def write(self, key: str, text: str) -> None:
        """Replace one text; an empty one is as good as none."""


class Clock:
    """This machine's time, which goes on while the machine is suspended."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


_CLOCK: Final = Clock()


@dataclass(frozen=True)
class Lease:
    """Who holds something.

    Attributes:
        process: that holds it.
        holder: the name of its hold, drawn at random.
        heartbeat_before: the one that the record had when it was free. A record with another one, which is not this
            holder's either, had another holder when this lease was written.
    """

    process: ProcessIdentity = field(default_factory=this_process)
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)
    heartbeat_before: str = ""

    def __str__(self) -> str:
        """The lease as a record keeps it."""
        return json.dumps({"holder": self.holder, "heartbeat_before": self.heartbeat_before, **asdict(self.process)})

    @property
    def is_dead(self) -> bool:
        """Whether nobody holds it any more, for certain: its process is dead, or is this one and gave it up."""
        return self.process.is_known_dead or (self.process.is_this_one and self.holder not in _held)


def lease_in(texts: Mapping[str, Any]) -> Lease | None:
    """The lease that a record holds; None where there is none, or none that can be read."""
    text = texts.get(LEASE)
    if not text:
        return None
    try:
        values = json.loads(text)
        process = ProcessIdentity(**{item.name: values[item.name] for item in fields(ProcessIdentity)})
        holder, before = str(values["holder"]), str(values.get("heartbeat_before", ""))
    except (ValueError, KeyError, TypeError, RecursionError):
        process, holder, before = None, "", ""
    if process is None or not process.is_well_formed:
        _log.warning("a lease that cannot be read counts as none: %.200r", text)
        return None
    return Lease(process, holder, before)


def holder_in(texts: Mapping[str, Any]) -> str:
    """Who holds a record, as messages name it."""
    lease = lease_in(texts)
    return str(lease.process) if lease else "another process"


class Watch:
    """One record as one process sees it over time: whether it may be taken over.

    Attributes:
        saw_renewal: whether the lease changed while it was watched, so that its holder certainly lives.
    """

    def __init__(self, clock: Clock = _CLOCK) -> None:
        """Begin; nothing has been seen yet."""
        self.saw_renewal = False
        self._clock = clock
        self._seen: tuple[str, str | None] | None = None
        self._unchanged = 0.0
        self._looked = 0.0

    def is_free(self, texts: Mapping[str, Any]) -> bool:
        """Look at the record's texts, just read: may it be taken over now?

        Time in which nobody looked counts as one renewal at most, because the holder may have been suspended together
        with this process.
        """
        lease = lease_in(texts)
        if lease is None or lease.is_dead:
            return True
        now = self._clock.now()
        seen = (lease.holder, _renewals(lease, texts))
        if self._seen is None or self._is_new(seen):
            self.saw_renewal = self._seen is not None
            self._seen, self._unchanged = seen, 0.0
        else:
            self._unchanged += min(now - self._looked, RENEWAL_SECONDS)
        self._looked = now
        return self._unchanged >= TAKEOVER_SECONDS

    def _is_new(self, seen: tuple[str, str | None]) -> bool:
        """Whether a record differs from the last; a heartbeat that another holder has overwritten tells nothing."""
        before, (holder, renewals) = self._seen, seen
        return before is None or holder != before[0] or (renewals is not None and renewals != before[1])


def _renewals(lease: Lease, texts: Mapping[str, Any]) -> str | None:
    holder, _, renewals = _heartbeat_in(texts).partition(" ")
    return renewals if holder == lease.holder else None


def _heartbeat_in(texts: Mapping[str, Any]) -> str:
    return str(texts.get(HEARTBEAT) or "")


def _last_known_free(texts: Mapping[str, Any]) -> str:
    """The heartbeat with which a record that may be taken over was certainly free."""
    lease = lease_in(texts)
    if lease is None or _renewals(lease, texts) is not None:
        return _heartbeat_in(texts)
    return lease.heartbeat_before  # its holder died before it knew that it was alone


class Held:
    """What this process holds the lease of. `take` and `new` make one.

    Attributes:
        lease: its own, as the record has it.
        record: where the lease is.
        what: is held, as messages name it.
    """

    def __init__(self, record: Record, what: str, clock: Clock, heartbeat_before: str = "") -> None:
        """Draw a name for the hold."""
        self.lease = Lease(heartbeat_before=heartbeat_before)
        self.record = record
        self.what = what
        self._clock = clock
        self._renewed = clock.now()
        self._renewals = 0
        self._has_heartbeat = False
        self._lost: Lost | None = None
        self._one_at_a_time = threading.RLock()
        self._over = threading.Event()
        self._abandoned: Callable[[], None] | None = None
        _held.add(self.lease.holder)

    def texts(self) -> dict[str, str]:
        """What the record of a new thing has to hold from its first moment."""
        return {LEASE: str(self.lease)}

    def write(self) -> None:
        """Write the lease into a record that is free; its heartbeat stays, see `settle`."""
        self._has_heartbeat = bool(self.lease.heartbeat_before)
        self.record.write(LEASE, str(self.lease))

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until every process that decided at the same moment has written, then see who has it.

        Whoever has begun to work in the meantime has left its heartbeat first, or the holder before it came back. Both
        may write for HOLD_SECONDS without asking, so this process waits until they have seen its lease.

        Args:
            seconds: to wait for the others; 0 for one whose work may be undone by them.

        Raises:
            Lost: if another process has it.
        """
        self._clock.sleep(seconds)
        is_alone = _heartbeat_in(self._confirm()) == self.lease.heartbeat_before
        remaining = 0.0 if is_alone else HOLD_SECONDS + RENEWAL_SECONDS
        while remaining > 0:
            step = min(remaining, RENEWAL_SECONDS)
            self._clock.sleep(step)
            self._confirm()
            remaining -= step
        self.renew()

    @property
    def is_due(self) -> bool:
        """Whether the last successful renewal is so long ago that this process may not write before the next one."""
        return self._lost is not None or self._clock.now() - self._renewed >= HOLD_SECONDS

    def check(self) -> None:
        """Make sure, before a write, that it is still this process's; asks only where too long ago was the last time.

        Raises:
            Lost: if it is not. It never will be again.
        """
        if self.is_due:
            self.renew()

    def renew(self) -> None:
        """Renew the lease, if it is this process's and still is afterwards.

        Raises:
            Lost: if it is not.
        """
        with self._one_at_a_time:
            began = self._clock.now()  # before it asks: this process may be stopped at any moment
            self._confirm()
            self._renewals += 1
            self._has_heartbeat = True  # before the write, whose answer may be lost
            self.record.write(HEARTBEAT, f"{self.lease.holder} {self._renewals}")
            self._confirm()  # again: one who took over in between is seen now; one who does so later sees the heartbeat
            self._renewed = began

    def _confirm(self) -> Mapping[str, Any]:
        """Read the record, which has to hold this process's lease."""
        if self._lost:
            raise self._lost
        texts = self.record.read()
        if texts.get(LEASE) == str(self.lease):
            return texts
        owner = lease_in(texts)
        self._lost = Lost(
            f"{self.what} was taken over by {owner.process}; this process writes nothing more to it."
            if owner
            else f"{self.what} no longer belongs to this process, which writes nothing more to it."
        )
        _log.info("%s", self._lost)
        self.forget()
        raise self._lost

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Have a thread renew the lease inside the `with`, and afterwards too if `give_up` was called there."""
        threading.Thread(target=self._keep, daemon=True, name="lease").start()
        try:
            yield
        finally:
            if self._abandoned is None:
                self._over.set()

    def _keep(self) -> None:
        while not self._over.wait(RENEWAL_SECONDS):
            try:
                self._renew_or_end()
            except Lost:
                return
            except Exception as error:  # noqa: BLE001 - an outage: the next renewal may get through
                _log.info("%s: its lease could not be renewed (%s)", self.what, error)

    def _renew_or_end(self) -> None:
        with self._one_at_a_time:
            if self._abandoned:
                self._end(self._abandoned)
            elif not self._over.is_set():
                self.renew()

    def _end(self, end: Callable[[], None]) -> None:
        with _handover:
            self._confirm()
            end()
        self._over.set()

    def release(self, record: Record | None = None) -> None:
        """Let it go, so that any process may take it at once.

        Args:
            record: to write to, instead of the one that renewals go to.
        """
        record = record or self.record
        with self._one_at_a_time:
            if self._has_heartbeat:
                record.write(HEARTBEAT, "")
            record.write(LEASE, "")
            self.forget()

    def forget(self) -> None:
        """Stop renewing; what the record says has been taken care of."""
        _held.discard(self.lease.holder)
        self._over.set()

    def give_up(self, end: Callable[[], None]) -> None:
        """Stop working on it while its record cannot be reached; this process may then take it again at once.

        Args:
            end: writes the end of the work and releases the record. A thread calls this function as soon as the record
                can be reached, if the record does not have another lease by then.
        """
        _held.discard(self.lease.holder)
        self._abandoned = end


def new(clock: Clock = _CLOCK) -> Held:
    """The hold of a thing that is about to be created with `Held.texts`; then set its `record` and `what`."""
    return Held(_Nowhere(), "A new thing", clock)


def take(record: Record, seen: Mapping[str, Any], what: str, clock: Clock = _CLOCK) -> Held:
    """Write this process's lease into a record that was found free; `Held.settle` then says whether it has it.

    Args:
        record: to take over.
        seen: its texts when it was found free.
        what: is held, as messages name it: "Run relu-hinge-1h (1234)".
        clock: of this machine.

    Raises:
        Lost: if the record is not any more what was seen.
    """
    held = Held(record, what, clock, _last_known_free(seen))
    try:
        with _handover:
            _compare(record.read(), seen, what)
            held.write()
    except BaseException:
        held.forget()
        raise
    return held


def _compare(texts: Mapping[str, Any], seen: Mapping[str, Any], what: str) -> None:
    if any((texts.get(key) or "") != (seen.get(key) or "") for key in (LEASE, HEARTBEAT)):
        raise Lost(f"{what} was taken over by {holder_in(texts)} at this moment.")


class _Nowhere:
    """The record of a thing that does not exist yet: nobody can have it, and to use it is a mistake of the program."""

    def read(self) -> Mapping[str, Any]:
        raise RuntimeError("set the record of a new hold before it is used")

    def write(self, key: str, text: str) -> None:
        raise RuntimeError(f"set the record of a new hold before {key} is set to {text!r}")
