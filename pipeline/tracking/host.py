"""The identity of a process and of its machine, and whether another process of this machine is alive."""

import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

import psutil

_STATE: Final = 0  # index of a field in /proc/PID/stat, counted from the first one after the program's name
_START: Final = 19
_DEAD_STATES: Final = "ZX"
_LARGEST_PID: Final = 2**31 - 1


@dataclass(frozen=True)
class ProcessIdentity:
    """The identity of a process, which no other process has.

    A process id identifies a process only on its host, which is described by `host`, `machine`, `boot` and `namespace`.
    A fact that the system does not provide is empty.

    Attributes:
        host: the machine's name.
        machine: the machine's id.
        boot: the id of the machine's current boot.
        namespace: the PID namespace.
        pid: the process id.
        started: when the process started, because a process id is used again after its process has ended. Linux gives
            this in ticks since the boot, which do not change when somebody sets the clock.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    started: str

    def __str__(self) -> str:
        """The process as messages name it."""
        return f"process {self.pid} on {self.host}"

    @property
    def is_well_formed(self) -> bool:
        """Whether every fact has the right type; this is not certain of a record that anybody may have written."""
        facts = asdict(self)
        pid = facts.pop("pid")
        return type(pid) is int and 0 < pid <= _LARGEST_PID and all(isinstance(fact, str) for fact in facts.values())

    @property
    def is_this_one(self) -> bool:
        """Whether this is the identity of the current process."""
        return self == this_process()

    @property
    def is_known_dead(self) -> bool:
        """Whether the process has certainly ended. This is never certain for a process of another machine."""
        if self._is_from_before_the_boot:
            return True
        if _host(self) != _host(this_process()):
            return False
        if not psutil.pid_exists(self.pid):
            return True
        try:
            started, is_dead = _look_at(self.pid)
        except (OSError, psutil.Error):  # hidden from this user, or just gone
            return not psutil.pid_exists(self.pid)
        return is_dead or started != self.started

    @property
    def _is_from_before_the_boot(self) -> bool:
        here = this_process()
        same_machine = bool(here.machine) and (self.host, self.machine) == (here.host, here.machine)
        return same_machine and self.boot != here.boot


def this_process() -> ProcessIdentity:
    """Return the identity of the current process, also after a fork."""
    return _identity(os.getpid())


@cache
def _identity(pid: int) -> ProcessIdentity:
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return ProcessIdentity(
        host=socket.gethostname(),
        machine=_text("/etc/machine-id"),
        boot=_text("/proc/sys/kernel/random/boot_id"),
        namespace=namespace,
        pid=pid,
        started=_look_at(pid)[0],
    )


def _host(process: ProcessIdentity) -> dict[str, object]:
    return {name: value for name, value in asdict(process).items() if name not in {"pid", "started"}}


def _text(file: str) -> str:
    with suppress(OSError):  # not Linux, or a container without it
        return Path(file).read_text().strip()
    return ""


def _look_at(pid: int) -> tuple[str, bool]:
    """Return when a process started, and whether it has ended."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        fields = stat.read_text().rpartition(")")[2].split()
        return fields[_START], fields[_STATE] in _DEAD_STATES
    process = psutil.Process(pid)
    return str(process.create_time()), process.status() == psutil.STATUS_ZOMBIE
