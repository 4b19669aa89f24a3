"""What commands say, where it cannot be said as it is."""

import io
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Interrupted
from pipeline.output import decoration, notice, one_line, printable, say


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "五.png ±"), ("cp1252", r"\u4e94.png ±"), ("ascii", r"\u4e94.png \xb1")]
)
def test_what_an_encoding_lacks_is_escaped(encoding, shown, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding=encoding))
    say("五.png ±")
    assert written.getvalue().decode(encoding) == f"{shown}\n"


def test_no_secret_is_said(capsys):
    say("from db://me:opensesame@host")
    notice("from db://me:opensesame@host")
    assert capsys.readouterr() == ("from db://me:***@host\n",) * 2


def test_a_reader_that_has_gone_is_a_warning():
    program = "from pipeline.output import say\nfor _ in range(3): say('x' * 100_000)\n"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read().decode().splitlines() == [
        "Warning: Standard output cannot be written ([Errno 32] Broken pipe); the tracking store has the results."
    ]
    assert process.wait() == 0
    process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_that_was_closed_is_left():
    import pty

    far, near = pty.openpty()
    code = "from pipeline.output import leave_terminal; input(); leave_terminal(); print('nobody reads this')"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=near, stderr=near)
    os.close(near)
    os.close(far)
    process.communicate(b"\n")
    assert process.returncode == 0


def test_a_decoration_that_fails_is_a_warning(capsys):
    with decoration("curves.png"):
        raise OSError(28, "No space left on device")
    assert capsys.readouterr().err == (
        "Warning: curves.png is missing ([Errno 28] No space left on device); the results do not need it.\n"
    )


def test_the_user_can_leave_while_something_is_decorated():
    with pytest.raises(Interrupted), decoration("curves.png"):
        raise Interrupted("stopped")


@given(st.text())
def test_no_control_character_reaches_a_terminal(text):
    allowed = {"\n", "\t"}
    assert {each for each in printable(text) if unicodedata.category(each) == "Cc"} <= allowed
    assert len(one_line(text).splitlines()) <= 1


def test_a_name_with_control_characters_is_said_escaped(capsys):
    name = "run \x1b]0;owned\x07\x1b[2J\u202e\r\nError: all is lost"
    say(name)
    notice(name)
    said, noticed = capsys.readouterr()
    shown = r"run \x1b]0;owned\x07\x1b[2J\u202e\r"
    assert said == f"{shown}\nError: all is lost\n"
    assert noticed == shown + r"\nError: all is lost" + "\n"
