"""The benchmark's document keeps the parts of other kinds of processor."""

import pytest

from benchmarks.parts import parts, summary_value, with_part

PART = """### At a glance

| figure | measured | aim           |
|--------|----------|---------------|
| speed  | 1.25     | at least 1.15 |
| share  | 90%      |               |"""


def test_a_run_rewrites_the_part_of_its_own_kind():
    document = with_part("", "Haswell kernels, AVX2, emulated", "old")
    document = with_part(document, "SkylakeX kernels, AVX-512", f"{PART}\n")
    document = with_part(document, "Haswell kernels, AVX2, emulated", "new")
    assert parts(document) == {"Haswell kernels, AVX2, emulated": "new", "SkylakeX kernels, AVX-512": PART}
    assert document.startswith("# Benchmarks\n\nThere is one part for each kind of processor")
    assert document.count("# Benchmarks") == 1
    assert with_part(document, "SkylakeX kernels, AVX-512", PART) == document


def test_a_document_of_one_run_has_no_parts():
    assert parts("# Benchmarks\n\n## At a glance\n\ntext\n") == {}


def test_a_value_of_the_summary_is_found():
    assert summary_value(PART, "speed") == 1.25
    assert summary_value(PART, "share") == 90
    with pytest.raises(KeyError):
        summary_value(PART, "memory")
