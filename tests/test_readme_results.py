"""What the README says of the results is what the results say."""

import re

import pytest

from tests.readme_results import BEGIN, END, REPOSITORY, block, renewed

GOLDEN = REPOSITORY / "tests/pipeline/report/golden.md"
RESULTS = REPOSITORY / "docs/results.md"
README = REPOSITORY / "README.md"


@pytest.mark.skipif(BEGIN not in README.read_text(), reason="the README's results are not enclosed yet")
def test_readme_says_what_the_results_say():
    readme = README.read_text()
    assert renewed(readme, RESULTS.read_text()) == readme, "run python -m tests.readme_results"


def test_readme_says_of_the_initialisation_what_the_results_say():
    results = " ".join((REPOSITORY / "docs/results.md").read_text().split())
    readme = " ".join((REPOSITORY / "README.md").read_text().split())
    [nearest] = re.findall(r"\(([\d.]+), Euclidean networks\) comes nearest", results)
    assert f"it is N(0, {nearest}²), but no initialisation gives all six" in readme
    assert "none of these initialisations gave all six" in results


def test_block_has_outcome_claims_search_and_both_tables():
    text = block(GOLDEN.read_text())
    assert "**72 of 72 published figures are reproduced**" in text
    assert "\n3. Accuracy: " in text
    assert "\nBest of the search `weak`: " in text
    assert "| relu | 94.38 ± 0.10 / 94.38 / +0.00 ✓ |" in text
    assert text.count("| activation | euclidean | softmax_cross_entropy | hinge |") == 2


def test_block_of_a_report_without_an_outcome_has_its_tables_without_links():
    results = "# Results\n\nText\n\n" + "".join(
        f"### Final test accuracy (%), {depth} hidden layer{plural}\n\n| activation | hinge |\n|---|---:|\n"
        "| relu | [97.49](#run-relu) / 97.41 / +0.08 |\n\n" for depth, plural in (("one", ""), ("two", "s"))
    )  # fmt: skip
    assert block(results).count("| relu | 97.49 / 97.41 / +0.08 |") == 2
    assert "Text" not in block(results)


def test_only_what_is_enclosed_is_renewed():
    results = GOLDEN.read_text()
    once = renewed(f"# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nMore\n", results)
    assert once == f"# Title\n\n{block(results)}\n\nMore\n"
    assert renewed(once, results) == once


def test_readme_without_the_comments_is_refused():
    with pytest.raises(ValueError, match="put both where the results belong"):
        renewed("# Title\n", GOLDEN.read_text())
