"""Leases: which process works on a run or a trial, and when another process may take it over.

A run or a trial keeps its lease in two texts, which together are its record. The text `lease` names the holder: a
random id and a process. The text `heartbeat` shows that the holder is alive: the same id and a number of renewals.
There are two texts because no store can write one on the condition that it has not changed since it was read. A renewal
that arrives late overwrites a heartbeat, which then does not count, but it never overwrites the lease of a new holder.

The rules:

- The holder renews its lease every RENEWAL_SECONDS. A renewal checks that the lease is still the holder's, writes the
  heartbeat, and checks again.
- The holder may write to its run or trial for HOLD_SECONDS after the start of its last successful renewal. Later, for
  example after a suspension or an outage, the holder renews the lease before it writes.
- A process takes over at once if there is no lease, if the holder's process is known to be dead, or if it is the holder
  itself and gave the lease up. Any other lease has to stay unchanged for TAKEOVER_SECONDS while the process watches it
  (`Watch`). Each process uses its own clock, which also runs while the machine is suspended; the clocks of two machines
  are never compared.
- A process that takes over writes its lease, waits for others that may have decided the same, and reads the record
  again: the last writer is the holder. If the heartbeat is not the one that the process saw first, another holder was
  at work when it wrote. Then the process waits until the other holder must have read the new lease, and renews only
  after that. If it dies while it waits, the next process has to wait, too: the lease contains the heartbeat seen first.

To use a lease, implement `Record`, and call `take`:

    class TrialRecord:  # a lease.Record
        def read(self):              # -> the texts by key; other keys do no harm
            return storage.get_trial(trial_id).user_attrs
        def write(self, key, text):  # an empty text means none
            storage.set_trial_user_attr(trial_id, key, text)

    record, watch = TrialRecord(), Watch()
    ...
    texts = record.read()
    if watch.is_free(texts):                     # ask every second or so, with the same watch
        held = take(record, texts, "Trial 3")    # writes the lease; raises Lost if another process was faster
        held.settle()                            # waits a moment; raises Lost if another took it at the same moment
        with held.kept():                        # a thread renews the lease
            ...
            held.check()                         # before each write: raises Lost if another process has taken over
        held.release()                           # a released record is free at once

If the storage is unavailable when the work ends, call `held.give_up(end)` inside `kept`. As soon as the storage is
available, the thread calls `end` if nobody has taken the trial over. The same process may take it again at once.
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
"""How long a lease has to stay unchanged before another process takes over; it must be the same for all processes."""
HOLD_SECONDS: Final = TAKEOVER_SECONDS / 2
"""How long a holder may write after a renewal; with a request's time-out, this is less than TAKEOVER_SECONDS."""
RENEWAL_SECONDS: Final = TAKEOVER_SECONDS / 6
SETTLE_SECONDS: Final = min(2.0, TAKEOVER_SECONDS / 12)
"""How long a process that takes over waits for others that decided the same."""

LEASE: Final = "lease"
HEARTBEAT: Final = "heartbeat"
_log: Final = logging.getLogger(__name__)
_held: Final[set[str]] = set()
"""The ids of this process's leases."""
_handover: Final = threading.RLock()
"""Locked while this process writes a lease or ends work that it gave up, because both may change the same record."""


class Record(Protocol):
    """A run or a trial that keeps the two texts of its lease, and possibly other texts."""

    def read(self) -> Mapping[str, Any]:
        """Return the current texts by key."""

    def write(self, key: str, text: str) -> None:
        """Replace one text; an empty text means that there is none."""


class Clock:
    """The clock of this machine, which also runs while the machine is suspended."""

    def now(self) -> float:
        """Return the seconds since some fixed moment."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        time.sleep(seconds)


_CLOCK: Final = Clock()


@dataclass(frozen=True)
class Lease:
    """Says which process holds a record.

    Attributes:
        process: the process that holds it.
        holder: a random id.
        heartbeat_before: the heartbeat that the record had when it was free. If the record has a heartbeat that is
            neither this one nor the holder's, there was another holder when this lease was written.
    """

    process: ProcessIdentity = field(default_factory=this_process)
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)
    heartbeat_before: str = ""

    def __str__(self) -> str:
        """The text of the lease in a record."""
        return json.dumps({"holder": self.holder, "heartbeat_before": self.heartbeat_before, **asdict(self.process)})

    @property
    def is_dead(self) -> bool:
        """Whether the lease certainly has no holder: its process is dead, or is this one, which gave the lease up."""
        return self.process.is_known_dead or (self.process.is_this_one and self.holder not in _held)


def lease_in(texts: Mapping[str, Any]) -> Lease | None:
    """Read the lease from a record's texts; return None if there is no lease, or none that can be read."""
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
    """Name the process that holds a record, for messages."""
    lease = lease_in(texts)
    return str(lease.process) if lease else "another process"


class Watch:
    """Watches one record over time, to find out whether this process may take it over.

    Attributes:
        saw_renewal: whether the holder renewed the lease while this object watched it; if so, the holder is at work.
            Another holder, or its first heartbeat, is no sign of work, because a process that ends what dead processes
            left holds the lease for a moment too.
    """

    def __init__(self, clock: Clock = _CLOCK) -> None:
        """Start without having seen the record."""
        self.saw_renewal = False
        self._clock = clock
        self._seen: tuple[str, str | None] | None = None
        self._unchanged = 0.0
        self._looked = 0.0

    def is_free(self, texts: Mapping[str, Any]) -> bool:
        """Whether the record may be taken over now, given its texts, which were read just now.

        If nobody looked for a while, this time counts for RENEWAL_SECONDS at most, because the holder may have been
        suspended together with this process.
        """
        lease = lease_in(texts)
        if lease is None or lease.is_dead:
            return True
        now = self._clock.now()
        seen = (lease.holder, _renewals(lease, texts))
        if self._seen is None or self._is_new(seen):
            holder, renewals = self._seen or ("", None)
            self.saw_renewal = holder == lease.holder and renewals is not None
            self._seen, self._unchanged = seen, 0.0
        else:
            self._unchanged += min(now - self._looked, RENEWAL_SECONDS)
        self._looked = now
        return self._unchanged >= TAKEOVER_SECONDS

    def _is_new(self, seen: tuple[str, str | None]) -> bool:
        """Whether the lease changed since the last look; a heartbeat that another process overwrote does not count."""
        before, (holder, renewals) = self._seen, seen
        return before is None or holder != before[0] or (renewals is not None and renewals != before[1])


def _renewals(lease: Lease, texts: Mapping[str, Any]) -> str | None:
    holder, _, renewals = _heartbeat_in(texts).partition(" ")
    return renewals if holder == lease.holder else None


def _heartbeat_in(texts: Mapping[str, Any]) -> str:
    return str(texts.get(HEARTBEAT) or "")


def _last_known_free(texts: Mapping[str, Any]) -> str:
    """Return the last heartbeat at which a record certainly had no holder."""
    lease = lease_in(texts)
    if lease is None or _renewals(lease, texts) is not None:
        return _heartbeat_in(texts)
    return lease.heartbeat_before  # its holder died before its first renewal


class Held:
    """A record that this process holds; `take` and `new` create one.

    Attributes:
        lease: this process's lease.
        record: the record that keeps the lease.
        what: the name of what is held, for messages.
    """

    def __init__(self, record: Record, what: str, clock: Clock, heartbeat_before: str = "") -> None:
        """Make a lease with a new id; nothing is written yet."""
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
        """Return the texts with which a new run or trial has to be created."""
        return {LEASE: str(self.lease)}

    def write(self) -> None:
        """Write the lease into a free record; the old heartbeat stays there, because `settle` compares it."""
        self._has_heartbeat = bool(self.lease.heartbeat_before)
        self.record.write(LEASE, str(self.lease))

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait for other processes that decided at the same moment, then make sure that this process is the holder.

        If there is a new heartbeat, another process has begun to work in the meantime, or the old holder is back.
        Either may write for HOLD_SECONDS without reading, so this process waits until it must have read the new lease.

        Args:
            seconds: how long to wait for other processes; 0 if they may undo the work of this one.

        Raises:
            Lost: another process is the holder.
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
        """Whether the lease has to be renewed before the next write, because the last renewal is too long ago."""
        return self._lost is not None or self._clock.now() - self._renewed >= HOLD_SECONDS

    def check(self) -> None:
        """Make sure, before a write, that this process is still the holder; the record is read only if `is_due`.

        Raises:
            Lost: another process is the holder. This object cannot be used again.
        """
        if self.is_due:
            self.renew()

    def renew(self) -> None:
        """Renew the lease, and make sure before and after this that this process is still the holder.

        Raises:
            Lost: it is not.
        """
        with self._one_at_a_time:
            began = self._clock.now()  # before the first read, because this process may be stopped at any moment
            self._confirm()
            self._renewals += 1
            self._has_heartbeat = True  # before the write, whose answer may be lost
            self.record.write(HEARTBEAT, f"{self.lease.holder} {self._renewals}")
            self._confirm()  # a process that took over meanwhile is seen now; a later one sees the heartbeat
            self._renewed = began

    def _confirm(self) -> Mapping[str, Any]:
        """Read the record, and make sure that it has this process's lease."""
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
        self.stop_renewing()
        raise self._lost

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let a thread renew the lease inside the `with`; after `give_up`, the thread goes on until it calls `end`."""
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
        """Remove the lease, so that any process may take the record over at once.

        Args:
            record: the record to write to; by default, that of the renewals.
        """
        record = record or self.record
        with self._one_at_a_time:
            if self._has_heartbeat:
                record.write(HEARTBEAT, "")
            record.write(LEASE, "")
            self.stop_renewing()

    def stop_renewing(self) -> None:
        """Stop renewing the lease without writing anything; this process may then take the record over at once."""
        _held.discard(self.lease.holder)
        self._over.set()

    def give_up(self, end: Callable[[], None]) -> None:
        """Stop working because the record cannot be reached; this process may then take the record over at once.

        Args:
            end: ends the run or trial and releases its record. A thread calls `end` as soon as the record can be
                reached, unless another process has taken it over.
        """
        _held.discard(self.lease.holder)
        self._abandoned = end


def new(clock: Clock = _CLOCK) -> Held:
    """Make the lease of a new run or trial; the caller creates it with `Held.texts`, then sets `record` and `what`."""
    return Held(_Nowhere(), "A new thing", clock)


def take(record: Record, seen: Mapping[str, Any], what: str, clock: Clock = _CLOCK) -> Held:
    """Write this process's lease into a record that is free; after that, `Held.settle` finds out who is the holder.

    Args:
        record: the record to take over.
        seen: the texts for which `Watch.is_free` returned True.
        what: the name of what is taken over, for messages, such as "Run relu-hinge-1h (1234)".
        clock: this machine's clock.

    Raises:
        Lost: the record has another lease or heartbeat than `seen`.
    """
    held = Held(record, what, clock, _last_known_free(seen))
    try:
        with _handover:
            _compare(record.read(), seen, what)
            held.write()
    except BaseException:
        held.stop_renewing()
        raise
    return held


def _compare(texts: Mapping[str, Any], seen: Mapping[str, Any], what: str) -> None:
    if any((texts.get(key) or "") != (seen.get(key) or "") for key in (LEASE, HEARTBEAT)):
        raise Lost(f"{what} was taken over by {holder_in(texts)} at this moment.")


class _Nowhere:
    """Stands for the record of a run or trial that does not exist yet; to use it is an error of the program."""

    def read(self) -> Mapping[str, Any]:
        raise RuntimeError("set the record of a new hold before it is used")

    def write(self, key: str, text: str) -> None:
        raise RuntimeError(f"set the record of a new hold before {key} is set to {text!r}")
