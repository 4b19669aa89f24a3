"""What the README says of speed is what the benchmarks say, for the slowest kind of processor."""

import pytest

from benchmarks.parts import NINE_FIGURE, with_part
from tests.readme_benchmarks import BEGIN, END, REPOSITORY, block, renewed

BENCHMARKS = REPOSITORY / "docs/benchmarks.md"
README = REPOSITORY / "README.md"


def part(torch, jax):
    rows = [
        f"| {NINE_FIGURE.format(library=name)} | {value} | |"
        for name, value in (("PyTorch eager", torch), ("JAX", jax))
    ]
    return "\n".join(["### At a glance", "", "| figure | measured | aim |", "|---|---|---|", *rows])


@pytest.mark.skipif(BEGIN not in README.read_text(), reason="the README's speed is not enclosed yet")
def test_readme_says_what_the_benchmarks_say():
    readme = README.read_text()
    assert renewed(readme, BENCHMARKS.read_text()) == readme, "run python -m tests.readme_benchmarks"


def test_the_document_here_has_the_ratios_that_the_readme_quotes():
    assert "times as fast as by PyTorch" in block(BENCHMARKS.read_text())


def test_the_lesser_ratio_of_each_library_is_quoted():
    document = with_part(with_part("", "A", part("2.49", "1.15")), "B", part("2.60", "0.87"))
    text = block(document)
    assert "trained 2.49 times as fast as by PyTorch and 0.87 times as fast as by JAX" in text
    assert "on the slowest of 2 kinds (A; B)." in text


def test_only_what_is_enclosed_is_renewed():
    document = with_part("", "A", part("2.49", "1.15"))
    once = renewed(f"# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nMore\n", document)
    assert once == f"# Title\n\n{block(document)}\n\nMore\n"
    assert renewed(once, document) == once


def test_readme_without_the_comments_is_refused():
    with pytest.raises(ValueError, match="put both where the speed belongs"):
        renewed("# Title\n", with_part("", "A", part("2.49", "1.15")))
