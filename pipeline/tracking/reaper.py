"""Ending the RUNNING runs of dead processes, and earlier unfinished runs of the same command."""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.errors import Lost
from pipeline.tracking import lease
from pipeline.tracking.acquisition import take_lease
from pipeline.tracking.lease import HEARTBEAT, LEASE, Watch
from pipeline.tracking.runs import CONTINUED_TAG, OwnedRun, RunRecord
from pipeline.tracking.store import FINGERPRINT_TAG, JOB_TAG, PARENT_TAG, Store, TrackedRun

_OURS: Final = {FINGERPRINT_TAG, JOB_TAG, LEASE}
_log: Final = logging.getLogger(__name__)


class Reaper:
    """Ends abandoned runs of the experiment while a command runs.

    The reaper looks again and again, because a process of another machine counts as dead only when its lease has not
    changed for TAKEOVER_SECONDS. It ends

    - a RUNNING run without a living process: the run becomes KILLED, and any process can resume it;
    - an unfinished run of the same command without a living process: the run also gets the tag `continued_by`, and the
      runs of its networks move to the run of this command.
    """

    def __init__(self, store: Store, run_id: str, job: str) -> None:
        """Work for the command with this run and this result of `_job`."""
        self._store = store
        self._run_id = run_id
        self._job = job
        self._watches: defaultdict[str, Watch] = defaultdict(Watch)
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Look now, and repeatedly inside the `with`."""
        self.look()
        done = threading.Event()
        threading.Thread(target=self._keep_looking, args=(done,), daemon=True, name="reaper").start()
        try:
            yield
        finally:
            done.set()

    def _keep_looking(self, done: threading.Event) -> None:
        while not done.wait(lease.RENEWAL_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - an outage: the next look may get through
                _log.info("no look for runs of dead processes (%s)", error)

    def look(self) -> None:
        """End every abandoned run, and remove the lease from finished runs that still have one."""
        with self._one_at_a_time:
            for run in self._unended():
                if run.run_id != self._run_id and self._watches[run.run_id].is_free(run.tags):
                    self._end(run)
            for run in list(self._store.search(f"tags.{LEASE} LIKE '%' and attributes.status = 'FINISHED'")):
                self._tidy(run)  # its process was killed before it removed the lease

    def _unended(self) -> list[TrackedRun]:
        running = self._store.search("attributes.status = 'RUNNING'")
        left = self._store.search(f"tags.{JOB_TAG} = '{self._job}' and attributes.status != 'FINISHED'")
        runs = {run.run_id: run for run in [*running, *left] if _OURS & run.tags.keys()}
        return [run for run in runs.values() if CONTINUED_TAG not in run.tags]

    def _tidy(self, run: TrackedRun) -> None:
        record = RunRecord(self._store.call, run.run_id)
        for key in (HEARTBEAT, LEASE):
            record.write(key, "")

    def _end(self, run: TrackedRun) -> None:
        held = take_lease(self._store, run)
        if held is None:
            return
        owned = OwnedRun(self._store, run.run_id, held)
        try:
            held.settle(0)  # nobody else holds it; whoever takes it at this moment only finds it ended
            reason = "its process died before the run ended" if run.status == "RUNNING" else ""
            if run.tags.get(JOB_TAG) == self._job:
                owned.tag(CONTINUED_TAG, self._run_id)
                self._move_networks(run.run_id)
            owned.end("KILLED" if run.status == "RUNNING" else run.status, reason)
        except Lost:
            return
        finally:
            owned.stop_renewing()

    def _move_networks(self, run_id: str) -> None:
        for network in list(self._store.search(f"tags.{PARENT_TAG} = '{run_id}'")):
            self._store.call("set_tag", network.run_id, PARENT_TAG, self._run_id)
