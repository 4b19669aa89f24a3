"""Which process is which: a living one is never taken for dead, nor another one for it."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pipeline.tracking import host
from pipeline.tracking.host import this_process


@pytest.fixture
def living():
    """The identity of another process, as it would give it itself."""
    code = """if True:
        import dataclasses, json
        from pipeline.tracking.host import this_process
        print(json.dumps(dataclasses.asdict(this_process())), flush=True)
        input()
    """
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    identity = host.ProcessIdentity(**json.loads(process.stdout.readline()))
    yield identity, process
    process.kill()
    process.communicate()


def test_a_process_is_alive_until_it_has_ended(living):
    identity, process = living
    assert not identity.is_known_dead
    assert not identity.is_this_one
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_known_dead  # a zombie, which nobody has waited for
    process.wait()
    assert identity.is_known_dead


def test_a_process_knows_itself_and_its_fork_is_another():
    assert this_process().is_this_one
    assert not this_process().is_known_dead
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, str(this_process().pid).encode())
        os._exit(0)
    os.wait()
    assert int(os.read(reader, 20)) not in {0, this_process().pid}


def test_a_process_id_that_was_given_to_another_process_is_not_the_old_one():
    assert replace(this_process(), started="1").is_known_dead
    assert not replace(this_process(), started="1").is_this_one


@pytest.mark.parametrize("fact", ["host", "machine", "namespace"])
def test_nothing_is_known_of_a_process_of_another_machine(fact):
    elsewhere = replace(this_process(), pid=1, started="1", **{fact: "elsewhere"})
    assert not elsewhere.is_known_dead
    assert not elsewhere.is_this_one


@pytest.mark.skipif(not this_process().machine, reason="this machine has no /etc/machine-id")
def test_a_process_from_before_the_boot_is_dead_on_its_own_machine_only():
    before = replace(this_process(), boot="before")
    assert before.is_known_dead
    assert not replace(before, machine="another").is_known_dead
    assert not replace(before, host="another").is_known_dead


def test_a_clock_that_is_set_kills_nobody(monkeypatch, living):
    identity, _ = living
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 1.0)  # what psutil adds to the ticks since the boot
    assert not identity.is_known_dead


def test_a_process_that_is_hidden_from_this_user_is_not_known_dead(monkeypatch):
    def hidden(_pid):
        raise FileNotFoundError

    identity = replace(this_process(), pid=os.getppid())
    monkeypatch.setattr(host, "_look_at", hidden)
    assert not identity.is_known_dead
