import json

import pytest

from pipeline.data import datasets, transfer
from pipeline.errors import PipelineError


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(transfer, "_PIECE_BYTES", 10_000)


def unchanged(_name, piece):
    return piece


def sent(data_dir, target, change=unchanged):
    """Send the digits to a folder, each piece changed on its way."""
    incomplete = datasets.begin_writing(target)
    for name, piece in transfer.pieces(data_dir / "digits"):
        transfer.append(incomplete, name, change(name, piece))
    return incomplete


def test_a_data_set_sent_in_pieces_is_the_same(data_dir, tmp_path, small_pieces):
    source, target = data_dir / "digits", tmp_path / "other" / "digits"
    transfer.complete(sent(data_dir, target), target, datasets.load("digits", data_dir).digest)
    assert {file.name: file.read_bytes() for file in target.iterdir()} == {
        file.name: file.read_bytes() for file in source.iterdir()
    }
    assert [each.name for each in target.parent.iterdir()] == ["digits"]


def flip(name, piece):
    return piece[:-1] + bytes([piece[-1] ^ 1]) if name == "train_pixels.npy" else piece


def other_data(name, piece):
    """Describe an intact data set, which is not the one that was to be sent."""
    return json.dumps(json.loads(piece) | {"digest": "0" * 32}).encode() if name == "dataset.json" else piece


@pytest.mark.parametrize("change", [flip, other_data])
def test_what_is_changed_on_its_way_is_refused_and_leaves_nothing(data_dir, tmp_path, change):
    target = tmp_path / "other" / "digits"
    with pytest.raises(PipelineError, match="is not the data set that was sent"):
        transfer.complete(sent(data_dir, target, change), target, datasets.load("digits", data_dir).digest)
    assert list(target.parent.iterdir()) == []


def test_a_piece_that_cannot_be_written_leaves_nothing(data_dir, tmp_path):
    target = tmp_path / "other" / "digits"
    incomplete = datasets.begin_writing(target)
    (incomplete / "train_pixels.npy").mkdir()
    with pytest.raises(OSError, match="directory"):
        transfer.append(incomplete, "train_pixels.npy", b"pixels")
    assert list(target.parent.iterdir()) == []


def test_a_data_set_that_another_process_completed_meanwhile_stays(data_dir, tmp_path):
    target = tmp_path / "other" / "digits"
    digest = datasets.load("digits", data_dir).digest
    first, second = sent(data_dir, target), sent(data_dir, target)
    transfer.complete(first, target, digest)
    inode = target.stat().st_ino
    transfer.complete(second, target, digest)
    assert target.stat().st_ino == inode
    assert [each.name for each in target.parent.iterdir()] == ["digits"]
