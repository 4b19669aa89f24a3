"""Processes that want one thing, simulated: they run the real rules of leases under a virtual clock.

Each simulated process is a greenlet, or two: one works, one renews. A seeded scheduler decides at every step how long
it takes, and whether the process is stopped there, killed, or cut off from the store. One process, the last, is spared,
so that there is always somebody who wants the thing and can have it.
"""

import heapq
import random
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count

from greenlet import getcurrent, greenlet

from pipeline.errors import Lost
from pipeline.tracking import host, lease
from pipeline.tracking.host import ProcessIdentity
from pipeline.tracking.lease import HOLD_SECONDS, LEASE, RENEWAL_SECONDS, TAKEOVER_SECONDS, Clock, Watch, take

FASTEST, SLOWEST = 1.05, 0.95  # clocks, against the true time
LOOK_SECONDS = 15.0  # between two looks of one who waits, at most
TIME_OUT = 15.0  # of a request
PATIENCE = 180.0  # with a store that is out
WRITES = 50  # that the whole work takes
WAKING = 0.2  # how often a stopped process goes on at the worst moment: another has looked, and has not yet written
END = 20_000.0
LONGEST_GAP = (TAKEOVER_SECONDS + HOLD_SECONDS + 2 * RENEWAL_SECONDS) / SLOWEST + 5 * LOOK_SECONDS + 4 * TIME_OUT


class Violation(AssertionError):  # noqa: N818 - what a test looks for
    """What the rules promise did not hold."""


@dataclass(eq=False)
class Hold:
    """A time in which a process owned the thing.

    Attributes:
        taken: how many leases were written into the record before its own; who wrote last has it.
    """

    process: "Process"
    taken: int
    late: int = 0
    """Writes that landed after another owned it."""


class World:
    """The true time, the thing's record, and everything that happens."""

    def __init__(self, seed):
        self.draw = random.Random(seed)  # noqa: S311 - a schedule is no secret
        self.now = 0.0
        self.texts = {}
        self.done = False
        self.alive = set()
        self.holds = []
        self.last_progress = 0.0
        self.takes = 0
        self._leases = []
        self._queue = []
        self._order = count()
        self._hub = getcurrent()

    def run(self):
        while self._queue and not self.done:
            self.now, _, process, branch = heapq.heappop(self._queue)
            if process.is_killed:
                continue
            if process.stopped_until > self.now:
                self.schedule(process, branch, process.stopped_until)
                continue
            process.world.current = process
            self._check_progress()
            branch.switch()
        if not self.done:
            raise Violation("the work was never finished")

    def spawn(self, process, function, *arguments):
        self.schedule(process, greenlet(lambda: function(*arguments), parent=self._hub), self.now)

    def schedule(self, process, branch, when):
        heapq.heappush(self._queue, (when, next(self._order), process, branch))

    def pause(self, process, seconds):
        self.schedule(process, getcurrent(), self.now + seconds)
        self._hub.switch()

    def wake_all(self):
        """Let every stopped process go on now; whatever it had to do meanwhile is due."""
        stopped = {process for _, _, process, _ in self._queue if process.stopped_until > self.now}
        self._queue = [
            (self.now if process in stopped and when == process.stopped_until else when, order, process, branch)
            for when, order, process, branch in self._queue
        ]
        heapq.heapify(self._queue)
        for process in stopped:
            process.stopped_until = self.now

    def leave(self):
        """Never come back: the process was killed."""
        self._hub.switch()

    def begins(self, process, held):
        """Note that a process owns it from now on, unless one that wrote its lease later has begun before.

        A later lease alone makes no owner: a process that was slow to write waits, before it begins, until the holder
        before it has to look again. The holder may write until then.
        """
        hold = Hold(process, self._leases.index(str(held.lease)))
        self.holds.append(hold)
        self.holds.sort(key=lambda one: one.taken)
        if hold is self.holds[-1]:
            self._progress()
        return hold

    def put(self, process, key, text):
        self.texts[key] = text
        if key == LEASE:
            self._leases.append(text)
            self.takes += 1  # from here on, the others wait anew
        elif process.is_at_work and process.holder in self.texts[LEASE]:
            self._progress()  # it lives, and has the thing, though it could not write for a while

    def wrote(self, hold):
        if hold in self.holds[-1:]:
            self._progress()
        else:
            hold.late += 1
            if hold.late > 1:
                raise Violation(f"{hold.process.name} wrote {hold.late} times after another had taken over")

    def _progress(self):
        self.last_progress, self.takes = self.now, 0

    def _check_progress(self):
        if self.now > END or self.now - self.last_progress > LONGEST_GAP * (1 + self.takes):
            raise Violation(f"nobody owned it for {self.now - self.last_progress:.0f} s")


class Process(Clock):
    """One process, with its own clock, which is also what it sees of the record (`lease.Record`)."""

    def __init__(self, world, name, machine, *, is_spared=False):
        self.world, self.name, self.is_spared = world, name, is_spared
        draw = world.draw
        self.rate = draw.uniform(SLOWEST, FASTEST)
        self.offset = draw.uniform(-50_000, 50_000)
        self.stopped_until = 0.0
        self.out_until = 0.0
        self.is_killed = False
        self.holder = None
        self.is_at_work = False
        self.identity = ProcessIdentity(f"machine-{machine}", "m", f"boot-{machine}", "", len(world.alive) + 1, name)
        world.alive.add(self.identity.pid)
        world.spawn(self, self.want)

    # Its clock.

    def now(self):
        return self.offset + self.rate * self.world.now

    def sleep(self, seconds):
        self.step()
        self.world.pause(self, seconds / self.rate)
        self.step()

    # What may happen to it at any moment.

    def step(self):
        if self.is_spared:
            return
        chance = self.world.draw.random()
        if chance < 0.002:
            self.is_killed = True
            self.world.alive.discard(self.identity.pid)
            self.world.leave()
        elif chance < 0.03:
            self.stopped_until = self.world.now + self.world.draw.uniform(1, 500)
            self.world.pause(self, 0)
        elif chance < 0.04:
            self.out_until = self.world.now + self.world.draw.uniform(1, 500)

    # The store.

    def request(self, action):
        self.step()
        if self.world.now < self.out_until:
            self.world.pause(self, TIME_OUT)
            raise OSError
        draw = self.world.draw
        self.world.pause(self, draw.uniform(0, 0.2) if draw.random() < 0.95 or self.is_spared else draw.uniform(0, 14))
        answer = action()
        self.step()
        return answer

    def read(self):
        return self.request(lambda: dict(self.world.texts))

    def write(self, key, text):
        if key == LEASE and self.world.draw.random() < WAKING:
            self.world.wake_all()
        self.request(lambda: self.world.put(self, key, text))

    # What it does.

    def want(self):
        watch = Watch(self)
        while True:
            self.sleep(self.world.draw.uniform(LOOK_SECONDS / 3, LOOK_SECONDS))
            held = None
            try:
                texts = self.read()
                if watch.is_free(texts):
                    held = take(self, texts, "It", self)
                    held._one_at_a_time = Alternately(self)
                    held.settle()
                    self.own(held)
            except (Lost, OSError):
                if held:
                    held.stop_renewing()
            self.is_at_work = False

    def own(self, held):
        hold = self.world.begins(self, held)
        self.holder, self.is_at_work = held.lease.holder, True
        self.world.spawn(self, self.renew, held)
        while True:
            self.sleep(self.world.draw.uniform(1, 15))
            try:
                self.patiently(held.check)
            except OSError:
                held.give_up(held.release)
                return
            self.step()  # past its check, and not yet sent
            try:
                self.request(lambda: self.world.wrote(hold))
            except OSError:
                continue
            if hold in self.world.holds[-1:] and self.world.draw.random() < 1 / WRITES:
                self.world.done = True
                self.world.leave()

    def patiently(self, attempt):
        began = self.now()
        while True:
            try:
                return attempt()
            except OSError:
                if self.now() - began > PATIENCE:
                    raise
                self.sleep(3)

    def renew(self, held):
        while not held._over.is_set():
            self.sleep(RENEWAL_SECONDS)
            try:
                held._renew_or_end()
            except OSError:
                continue
            except Lost:
                return


@dataclass
class Alternately:
    """A lock between the greenlets of one process."""

    process: Process
    owner: object = None
    depth: int = field(default=0)

    def __enter__(self):
        while self.owner not in {None, getcurrent()}:
            self.process.world.pause(self.process, 0.1)
        self.owner, self.depth = getcurrent(), self.depth + 1

    def __exit__(self, *_):
        self.depth -= 1
        if not self.depth:
            self.owner = None


def simulate(seed, patch):
    """Run one schedule; returns what happened.

    Raises:
        Violation: if a process wrote more than the one request past its check to what another owned, or if the thing
            had no owner for longer than the rules say.
    """
    world = World(seed)
    patch.setattr(host, "_identity", lambda _pid: world.current.identity)
    patch.setattr(host.psutil, "pid_exists", lambda pid: pid in world.alive)
    patch.setattr(host, "_look_at", lambda pid: (next(p.name for p in processes if p.identity.pid == pid), False))
    patch.setattr(lease, "_handover", nullcontext())  # a killed process would never let go of it
    machines = world.draw.randint(1, 3)
    processes = [
        Process(world, f"process-{number}", world.draw.randrange(machines), is_spared=number == 3)
        for number in range(4)
    ]
    held = set(lease._held)
    try:
        world.run()
    finally:
        lease._held.clear()
        lease._held.update(held)
    return world
