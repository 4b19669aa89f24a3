import os
import stat

import pytest

from pipeline.files import write_atomically


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "results"
    made.mkdir()
    return made


def test_content_is_written_and_replaced(folder):
    target = folder / "results.md"
    write_atomically(target, b"first")
    write_atomically(target, b"second")
    assert target.read_bytes() == b"second"
    assert [path.name for path in folder.iterdir()] == ["results.md"]


def test_a_failure_leaves_the_old_content_and_nothing_else(folder, monkeypatch):
    target = folder / "results.md"
    write_atomically(target, b"first")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, b"second")
    assert target.read_bytes() == b"first"
    assert [path.name for path in folder.iterdir()] == ["results.md"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_others_may_read_what_the_umask_lets_them(folder):
    before = os.umask(0o022)
    try:
        write_atomically(folder / "shared", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "shared").stat().st_mode) == 0o644
