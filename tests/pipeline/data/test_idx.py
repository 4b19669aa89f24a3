import gzip
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.data.idx import read_idx, read_idx_labels, write_idx
from pipeline.errors import PipelineError

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
images = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=6))


def packed(content):
    """The same bytes at any time: they are in the names of tests."""
    return gzip.compress(content, mtime=0)


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
@example((0, 2**32 - 1, 2**32 - 1), 0)
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
        (b"", "is empty; it has to be an idx file"),
        (header(1, magic=b"\0\0\x08\x01") + b"x", "holds unsigned bytes in 1 dimension; .* in 3 dimensions"),
        (header(1, 1, 1, magic=b"\0\0\x0d\x03") + b"x", "holds 32-bit floats in 3 dimensions; .* whole numbers"),
        (header(1, 1, magic=b"\0\0\x0e\x02") + b"x", "holds 64-bit floats in 2 dimensions; .* in 3 dimensions"),
        (header(1, 1, 1, magic=b"\0\0\x0a\x03") + b"x", "is no idx file: its content begins with 00 00 0a 03"),
        (b"\n<!DOCTYPE html><html>", "is an HTML or XML page"),
        (b"PK\x03\x04 and so on", "is a zip archive"),
        (packed(packed(header(1, 1, 1) + b"x")), "is compressed with gzip twice; decompress it once"),
        (packed(b"\x89PNG"), "is no idx file: its content begins with 89 50 4e 47"),
        (packed(b""), "is empty"),
        (header(5, 2), "ends within its header"),
        (header(2, 2, 2) + bytes(7), "promises 8 bytes in its header and holds 7"),
        (header(2, 2, 2) + bytes(9), "goes on after the 8 bytes"),
        (header(2**31, 2**10, 2**10), "promises 2,251,799,813,685,248 bytes, more than this machine's"),
    ],
)
def test_faults_are_named(tmp_path, content, fault):
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=f"train-images.*{fault}"):
        read_idx(path, 3)


@pytest.mark.parametrize(("code", "dtype"), [(0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4")])
def test_integers_of_any_width_are_taken_where_every_value_fits(tmp_path, code, dtype):
    path = tmp_path / "labels"
    values = np.array([0, 9, 127], dtype)
    path.write_bytes(header(3, magic=bytes([0, 0, code, 1])) + values.tobytes())
    array, digest = read_idx_labels(path)
    assert (array.dtype, array.tolist(), digest) == (
        np.uint8,
        [0, 9, 127],
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


@pytest.mark.parametrize("value", [-1, 256, 2**31 - 1])
def test_an_integer_that_does_not_fit_is_named(tmp_path, value):
    path = tmp_path / "labels"
    path.write_bytes(header(2, magic=b"\0\0\x0c\x01") + np.array([3, value], ">i4").tobytes())
    low, high = sorted([3, value])
    with pytest.raises(PipelineError, match=f"labels holds values from {low} to {high}; they have to be from 0 to 255"):
        read_idx_labels(path)


def test_labels_in_two_dimensions_stand_in_the_first_column(tmp_path):
    path = tmp_path / "qmnist-test-labels-idx2-int"
    values = np.array([[7, 4, 60_000], [2, 0, 0]], ">i4")
    path.write_bytes(header(2, 3, magic=b"\0\0\x0c\x02") + values.tobytes())
    assert read_idx_labels(path)[0].tolist() == [7, 2]


def test_labels_with_a_number_for_each_class_are_not_taken_for_their_first_column(tmp_path):
    path = tmp_path / "labels"
    write_idx(path, np.eye(4, dtype=np.uint8))
    with pytest.raises(PipelineError, match="holds 4 numbers from 0 to 1 for each label; give one, its class"):
        read_idx_labels(path)


def test_a_compressed_file_is_read_no_further_than_its_header_promises(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(header(2, 2, 2) + bytes(1 << 28)))
    tracemalloc.start()
    with pytest.raises(PipelineError, match="goes on after the 8 bytes that its header promises"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PipelineError, match="absent"):
        read_idx(tmp_path / "absent", 1)


def refused(path, dimensions):
    """What is read, or None if it is refused in the one way that is allowed."""
    try:
        return (read_idx_labels(path) if dimensions == 1 else read_idx(path, dimensions))[0]
    except PipelineError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return None
