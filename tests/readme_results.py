"""Write what the README says of the results, from docs/results.md: python -m tests.readme_results.

The README has two comments that enclose it; a test fails while it is not what the results say.
"""

import re
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
BEGIN: Final = "<!-- results: written by python -m tests.readme_results -->"
END: Final = "<!-- end of the results -->"
DEPTHS: Final = ("One hidden layer", "Two hidden layers")


def block(results: str) -> str:
    """What the README says: what is reproduced, the claims, the search, and the test accuracies of all networks.

    A report of the time before there was an outcome on its first screen gives its test accuracies alone.
    """
    parts = [BEGIN, *_outcome(results)]
    parts.append(
        "Test accuracy in percent, measured / published / difference; ✓ is reproduced, ✗ outside by so much, ~ too "
        "wide to tell:"
    )
    for depth in DEPTHS:
        parts += [f"{depth}:", _table(results, f"### Final test accuracy (%), {depth.lower()}")]
    return "\n\n".join([*parts, END])


def renewed(readme: str, results: str) -> str:
    """The README with the block that the results give.

    Raises:
        ValueError: if the README lacks the comments that enclose the block.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks {BEGIN} or {END}; put both where the results belong.")
    return before + block(results) + after


def _outcome(results: str) -> list[str]:
    first, *_ = results.partition("\n## ")
    paragraphs = first.split("\n\n")
    reproduced = [text for text in paragraphs if "published figures are reproduced" in text]
    claims = re.findall(r"^\|\s*\[(\d)\]\(#claim-\d\)\s*\| \*\*(.+?)\*\*", first, flags=re.MULTILINE)
    found = [text for text in paragraphs if text.startswith("Best of the search")]
    judged = "\n".join(f"{number}. {verdict}" for number, verdict in claims)
    listed = ["The published conclusions, statement by statement:", judged] if claims else []
    return [*reproduced, *listed, *found]


def _table(results: str, heading: str) -> str:
    """The first table after a heading, without links and padding."""
    text = results.partition(f"{heading}\n")[2].lstrip("\n").partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in re.sub(r"\[([^]]+)\]\(#[^)]+\)", r"\1", text).splitlines()]  # fmt: skip
    rows[1] = ["---"] * len(rows[0])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Write the README anew."""
    readme, results = REPOSITORY / "README.md", REPOSITORY / "docs/results.md"
    readme.write_text(renewed(readme.read_text(), results.read_text()))


if __name__ == "__main__":
    main()
