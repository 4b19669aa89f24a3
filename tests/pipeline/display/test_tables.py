"""Tables in markdown hold, whatever their cells are."""

from markdown_it import MarkdownIt

from pipeline.data.doubt import Prediction
from pipeline.display.tables import markdown_table, predictions_table

NAME = "a|b\n| c | d |\x1b[2J\u202e"
SHOWN = r"a|b\n| c | d |\x1b[2J\u202e"


def rows_of(table):
    """The cells of each row as a reader of the markdown sees them, and whether there is anything after the table."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(table)
    assert tokens[-1].type == "table_close"
    inner = [token.content for token in tokens if token.type == "inline"]
    width = sum(token.type == "th_open" for token in tokens)
    return [inner[start : start + width] for start in range(0, len(inner), width)]


def test_a_name_stays_in_its_cell():
    assert rows_of(markdown_table([[NAME, 1], ["e", 2]], ["name", NAME])) == [["name", SHOWN], [SHOWN, "1"], ["e", "2"]]


def test_the_name_of_a_picture_stays_in_its_cell():
    table = predictions_table([Prediction(NAME, 1, [0.25, 0.75], "")])
    assert [row[:2] for row in rows_of(table)] == [["image", "class"], [SHOWN, "1"]]
