import runpy
from pathlib import Path

import pytest

import model
from pipeline.training import classifier
from pipeline.training.bundle import bundle


@pytest.fixture
def written(tmp_path):
    """Write modules by name and text: `main` beside the package `shapes`; gives what `bundle` takes."""

    def write(main, **modules):
        package = tmp_path / "shapes"
        package.mkdir()
        for name, text in modules.items():
            (package / f"{name}.py").write_text(text)
        (tmp_path / "main.py").write_text(main)
        return tmp_path / "main.py", package

    return write


def test_every_module_is_there_once_before_those_that_need_it(written, tmp_path):
    main = "from shapes.square import (\n    area,\n)\nfrom shapes.units import SIDE\n\nvalue = area(SIDE)\n"
    square = '"""Squares."""\nfrom shapes.units import SIDE\n\n\ndef area(side):\n    return side * side * SIDE\n'
    text = bundle(*written(main, square=square, units="SIDE = 3\n", unused="raise RuntimeError\n"))
    (tmp_path / "alone.py").write_text(text)
    assert runpy.run_path(str(tmp_path / "alone.py"))["value"] == 27
    assert [text.count(part) for part in ("SIDE = 3", "def area", "import", "RuntimeError")] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    "statement",
    [
        "import shapes.units",
        "from shapes import units",
        "from shapes.units import SIDE as side",
        "def late():\n    from shapes.units import SIDE",
    ],
)
def test_an_import_that_cannot_be_joined_is_refused(written, statement):
    with pytest.raises(ValueError, match=r"main\.py has to import from modules of shapes"):
        bundle(*written(statement, units="SIDE = 3\n"))


def test_one_name_for_two_things_is_refused(written):
    files = written("from shapes.units import SIDE\n_LIMIT = 1\n", units="SIDE = _LIMIT = 3\n")
    with pytest.raises(ValueError, match=r"units\.py and .*main\.py both define _LIMIT"):
        bundle(*files)


def test_the_classifier_can_be_joined():
    text = bundle(Path(classifier.__file__), Path(model.__file__).parent)
    assert "class Network" in text
    assert "from model" not in text
