import hashlib
import io
import os
import zipfile

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.training.checkpoint import Checkpoints

ARRAYS = {"weight": np.arange(3, dtype=np.float32), "count": np.int64(7)}
LAST = 200


@pytest.fixture
def checkpoints(tmp_path):
    """Two checkpoints, the second at step LAST."""
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save(100, ARRAYS, {"epoch": 1})
    checkpoints.save(LAST, ARRAYS, {"epoch": 2})
    return checkpoints


@pytest.fixture
def newest(checkpoints):
    return max(checkpoints.folder.iterdir())


def test_what_is_saved_comes_back_to_the_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run")
    values = np.array([np.nan, -0.0, np.inf, 5e-324, 0.1 + 0.2])
    notes = {
        "seconds": 0.1 + 0.2,
        "tiny": 5e-324,
        "pending": [["train/loss", 1 / 3, 1_700_000_000_123, 7]],
        "text": "é",
    }
    checkpoints.save(1, {"float64": values, "float32": values.astype(np.float32)}, notes)
    found = checkpoints.latest()
    assert found.arrays["float64"].tobytes() == values.tobytes()
    assert found.arrays["float32"].tobytes() == values.astype(np.float32).tobytes()
    assert found.notes == notes
    assert found.damaged == 0


def test_there_is_none_before_the_first(tmp_path):
    assert Checkpoints(tmp_path / "run").latest() is None


def test_the_last_two_are_kept(checkpoints):
    checkpoints.save(300, ARRAYS, {"epoch": 3})
    assert len(list(checkpoints.folder.iterdir())) == 2
    assert checkpoints.latest().notes == {"epoch": 3}


def damages(content):
    """Every byte changed, in one bit and in all; every length cut short; something added."""
    for place in range(len(content)):
        yield content[:place]
        for mask in (1 << place % 8, 0xFF):
            yield content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]
    yield content + b"\0"


def test_any_damage_is_noticed_and_the_one_before_used(checkpoints, newest):
    whole = newest.read_bytes()
    for content in damages(whole):
        newest.write_bytes(content)
        found = checkpoints.latest()
        assert (found.notes, found.damaged) == ({"epoch": 1}, 1)
    newest.write_bytes(whole)
    assert checkpoints.latest().notes == {"epoch": 2}


def test_where_all_are_damaged_training_begins_anew(checkpoints):
    for path in checkpoints.folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert checkpoints.latest() is None


def test_a_damaged_one_does_not_count_among_the_two_that_are_kept(checkpoints, newest):
    newest.write_bytes(b"torn")
    checkpoints.latest()
    checkpoints.save(150, ARRAYS, {"epoch": 1.5})
    max(checkpoints.folder.iterdir()).write_bytes(b"torn as well")
    assert checkpoints.latest().notes == {"epoch": 1}


def test_one_under_another_ones_name_is_damaged(checkpoints, newest):
    newest.rename(newest.with_name("000000000300-" + "0" * 32 + ".npz"))
    assert checkpoints.latest().notes == {"epoch": 1}


def test_what_a_killed_process_left_half_written_is_not_taken_for_one_and_goes_with_the_others(checkpoints):
    (checkpoints.folder / "tmp1234.partial").write_bytes(b"half")
    assert checkpoints.latest().notes == {"epoch": 2}
    checkpoints.remove()
    assert not checkpoints.folder.exists()


def test_one_that_cannot_be_written_leaves_the_one_before_and_one_clear_line(checkpoints, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PipelineError, match=r"No space left on device.*Make room") as error:
        checkpoints.save(300, ARRAYS, {"epoch": 3})
    assert len(str(error.value).splitlines()) == 1
    assert checkpoints.latest().notes == {"epoch": 2}
    assert len(list(checkpoints.folder.iterdir())) == 2, "a part of it is left"


def test_there_is_no_pickle(checkpoints, newest):
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoints.save(300, {"objects": np.array([{}], dtype=object)}, {})
    with zipfile.ZipFile(newest) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                assert version == (1, 0)
                _, _, dtype = np.lib.format.read_array_header_1_0(member)
                assert not dtype.hasobject


def stored(**arrays):
    archive = io.BytesIO()
    np.savez(archive, allow_pickle=True, **arrays)
    return archive.getvalue()


def compressed():
    archive = io.BytesIO()
    np.savez_compressed(archive, notes=np.frombuffer(b"{}", np.uint8), zeros=np.zeros(10**6))
    return archive.getvalue()


def member(name, content):
    archive = io.BytesIO(stored(notes=np.frombuffer(b"{}", np.uint8)))
    with zipfile.ZipFile(archive, "a") as each:
        each.writestr(name, content)
    return archive.getvalue()


def header(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def described(shape, descr="'<f8'"):
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode())


FORGED = {
    "no archive": b"weights",
    "no notes": stored(weight=np.zeros(3)),
    "notes that are no JSON": stored(notes=np.frombuffer(b"{", np.uint8)),
    "notes without names": stored(notes=np.frombuffer(b"[1]", np.uint8)),
    "deep notes": stored(notes=np.frombuffer(b"[" * 10**5, np.uint8)),
    "notes that are no text": stored(notes=np.array([0xFF], np.uint8)),
    "a pickle": stored(notes=np.array([{}], dtype=object)),
    "a compressed one": compressed(),
    "a huge shape": member("weight.npy", described("(1000000000, 1000000000)")),
    "a negative shape": member("weight.npy", described("(-3,)")),
    "a shape of texts": member("weight.npy", described("('a',)")),
    "no type": member("weight.npy", described("(1,)", "'?!'")),
    "a header that is code": member("weight.npy", header(b"__import__('os').abort()")),
}


@pytest.mark.parametrize("content", FORGED.values(), ids=FORGED)
def test_a_forged_one_is_passed_over(checkpoints, content):
    digest = hashlib.sha256(content).hexdigest()[:32]
    (checkpoints.folder / f"000000000300-{digest}.npz").write_bytes(content)
    found = checkpoints.latest()
    assert (found.notes, found.damaged) == ({"epoch": 2}, 1)


def test_one_that_does_not_fit_is_passed_over(checkpoints):
    def check(checkpoint):
        if checkpoint.notes["epoch"] > 1:
            raise KeyError("weight")

    assert checkpoints.latest(check).notes == {"epoch": 1}
