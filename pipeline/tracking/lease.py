"""Leases: which process works on something, and whether that process lives."""

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import psutil

LEASE_SECONDS: Final = 120.0
RENEWAL_SECONDS: Final = 30.0


def new_lease() -> str:
    """A lease of this process that ends after LEASE_SECONDS."""
    return json.dumps(
        {
            **host_identity(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "expires": time.time() + LEASE_SECONDS,
        }
    )


@cache
def host_identity() -> dict[str, str]:
    """The host of this process: a process id means the same only where all of these are equal.

    They are the machine's name and its id, because names repeat, the boot, and the PID namespace.
    """
    identity = {"host": socket.gethostname()}
    files = {"machine": "/etc/machine-id", "boot": "/proc/sys/kernel/random/boot_id"}
    for part, file in files.items():
        with suppress(OSError):  # not Linux, or a container without it
            identity[part] = Path(file).read_text().strip()
    with suppress(OSError):
        identity["processes"] = str(Path("/proc/self/ns/pid").readlink())
    return identity


def is_here(lease: Mapping[str, Any], *parts: str) -> bool:
    """Whether a lease names this process's host in these parts of `host_identity`; by default in all of them."""
    identity = host_identity()
    return all(lease.get(part) == identity.get(part) for part in parts or identity)


def _is_from_before_this_machine_started(lease: Mapping[str, Any]) -> bool:
    known = bool(host_identity().get("machine"))
    return known and is_here(lease, "host", "machine") and not is_here(lease, "boot")


def lease_is_alive(lease: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a lease lives: known at once on this machine, by the lease's end on another."""
    if not lease or _is_from_before_this_machine_started(lease):
        return False
    if not is_here(lease):
        return bool(lease["expires"] > time.time())
    try:
        process = psutil.Process(lease["pid"])
        return bool(process.create_time() == lease["started"] and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
