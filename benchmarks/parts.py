"""The benchmark's document has one part for each kind of processor, each from one run."""

import re
from typing import Final

_HEADING: Final = "## On "
_BEGINNING: Final = (
    "# Benchmarks\n\n"
    "There is one part for each kind of processor, because results hold for one kind only. Each part is from one run; "
    "a run rewrites the part of its own kind and keeps the others. A kind is named by the matrix kernels that NumPy's "
    "BLAS chose and by the widest vector instructions that NumPy found. *Emulated* means that every library was kept "
    "from using wider ones, with `--emulate`."
)
NINE_FIGURE: Final = "nine networks on all cores: time of {library} at its best, divided by ours"
"""The line of the summary that is about a library."""


def parts(document: str) -> dict[str, str]:
    """The text of each kind's part, below its heading, by kind; a document of one run alone has none."""
    found = re.split(rf"^{_HEADING}(.+)$", document, flags=re.MULTILINE)[1:]
    return {kind: text.strip() for kind, text in zip(found[::2], found[1::2], strict=True)}


def with_part(document: str, kind: str, text: str) -> str:
    """The document with the part of one kind put in, or replaced; the others stay as they are.

    Args:
        document: as it was, or an empty text.
        kind: of the part.
        text: the part; its headings have three hashes or more.
    """
    every = {**parts(document), kind: text.strip()}
    return "\n\n".join([_BEGINNING, *(f"{_HEADING}{name}\n\n{every[name]}" for name in sorted(every))]) + "\n"


def summary_value(part: str, figure: str) -> float:
    """The measured value of a line of a part's summary.

    Raises:
        KeyError: the part has no such line.
    """
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == figure:
            return float(re.sub(r"[^\d.]", "", cells[1]))
    raise KeyError(figure)
