"""Write what the README says of speed, from docs/benchmarks.md: python -m tests.readme_benchmarks.

The README has two comments that enclose it; a test fails while it is not what the benchmarks say.
"""

from pathlib import Path
from typing import Final

from benchmarks.parts import NINE_FIGURE, parts, summary_value

REPOSITORY: Final = Path(__file__).resolve().parent.parent
BEGIN: Final = "<!-- speed: written by python -m tests.readme_benchmarks -->"
END: Final = "<!-- end of the speed -->"


def block(document: str) -> str:
    """What the README says: the least ratio of all kinds of processor, for each library."""
    every = parts(document)
    torch, jax = (
        min(summary_value(part, NINE_FIGURE.format(library=library)) for part in every.values())
        for library in ("PyTorch eager", "JAX")
    )
    kinds = "; ".join(sorted(every))
    where = f"one kind of processor ({kinds})" if len(every) == 1 else f"the slowest of {len(every)} kinds ({kinds})"
    return (
        f"{BEGIN}\n\nIn [the benchmarks](docs/benchmarks.md), nine of the published one-layer networks together are "
        f"trained {torch:.2f} times as fast as by PyTorch and {jax:.2f} times as fast as by JAX, on {where}.\n\n{END}"
    )


def renewed(readme: str, document: str) -> str:
    """The README with the block that the benchmarks give.

    Raises:
        ValueError: the README lacks the comments that enclose the block.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks {BEGIN} or {END}; put both where the speed belongs.")
    return before + block(document) + after


def main() -> None:
    """Write the README anew."""
    readme, document = REPOSITORY / "README.md", REPOSITORY / "docs/benchmarks.md"
    readme.write_text(renewed(readme.read_text(), document.read_text()))


if __name__ == "__main__":
    main()
