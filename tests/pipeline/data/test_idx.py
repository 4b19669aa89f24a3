import gzip
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.data.idx import read_idx, write_idx
from pipeline.errors import PipelineError

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
images = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=6))


def header(*shape, magic=b"\0\0\x08\x03"):
    return magic + struct.pack(f">{len(shape)}I", *shape)


@in_one_folder
@given(images, st.booleans())
def test_round_trip(tmp_path, array, compressed):
    path = tmp_path / "file"
    write_idx(path, array)
    content = path.read_bytes()
    if compressed:
        path.write_bytes(gzip.compress(content))
    read, digest = read_idx(path, 3)
    np.testing.assert_array_equal(read, array)
    assert digest == hashlib.sha256(content).hexdigest()


@in_one_folder
@given(st.binary(max_size=200), st.booleans(), st.sampled_from([1, 3]))
def test_any_bytes_are_read_or_refused(tmp_path, content, compressed, dimensions):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if compressed else content)
    refused(path, dimensions)


@in_one_folder
@given(images, st.data(), st.booleans())
def test_any_truncation_is_refused(tmp_path, array, data, compressed):
    path = tmp_path / "file"
    write_idx(path, array)
    content = gzip.compress(path.read_bytes()) if compressed else path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(PipelineError, match="file"):
        read_idx(path, 3)


@in_one_folder
@given(images, st.data())
def test_any_corruption_of_a_compressed_file_is_refused(tmp_path, array, data):
    path = tmp_path / "file"
    write_idx(path, array)
    content = bytearray(gzip.compress(path.read_bytes(), mtime=0))
    # Ten bytes of gzip's header say nothing of the content, and are not covered by its checksum.
    place = data.draw(st.integers(10, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    result = refused(path, 3)
    assert result is None or np.array_equal(result, array)


@in_one_folder
@given(st.tuples(*[st.integers(0, 2**32 - 1)] * 3), st.integers(0, 64))
def test_no_header_makes_it_take_memory_for_what_is_not_there(tmp_path, shape, held):
    path = tmp_path / "file"
    path.write_bytes(header(*shape) + bytes(held))
    tracemalloc.start()
    refused(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "begins with nothing"),
        (header(1, 1, 1, magic=b"\0\0\x08\x01") + b"x", "begins with 00000801"),
        (header(1, 1, 1, magic=b"\0\0\x0d\x03") + b"x", "begins with 00000d03"),
        (header(5, 2), "ends within its header"),
        (header(2, 2, 2) + bytes(7), "promises 8 bytes in its header and holds 7"),
        (header(2, 2, 2) + bytes(9), "goes on after the 8 bytes"),
        (header(2**31, 2**10, 2**10), "promises 2,251,799,813,685,248 bytes"),
    ],
)
def test_faults_are_named(tmp_path, content, fault):
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=f"train-images.*{fault}"):
        read_idx(path, 3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PipelineError, match="absent"):
        read_idx(tmp_path / "absent", 1)


def refused(path, dimensions):
    """What is read, or None if it is refused in the one way that is allowed."""
    try:
        return read_idx(path, dimensions)[0]
    except PipelineError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return None
