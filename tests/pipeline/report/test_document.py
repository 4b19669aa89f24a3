"""The whole document: golden, and sound whatever the store has."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from pipeline import commands
from pipeline.report.document import write
from pipeline.report.measured import Runs
from tests.pipeline.report.conftest import BASE, NETWORKS, SWEPT

GOLDEN = Path(__file__).parent / "golden.md"


def document(store, folder):
    return write(Runs(store, BASE), folder).read_text()


def tables_of(text):
    """Every table as rows of cells, the headers first."""
    tables, row = [], None
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            row = []
            tables[-1].append(row)
        elif token.type == "inline" and row is not None:
            row.append(token.content)
        elif token.type == "tr_close":
            row = None
    return tables


def test_report_of_a_made_store_is_the_golden_one(store, make, tmp_path):
    """To renew the golden report after a change that is meant, delete the file and run this test twice."""
    make.published(test_accuracy=lambda _config, value: value + 0.001)
    make.search(trials=[("complete", SWEPT[1], 0.93), ("complete", SWEPT[5], 0.96), ("pruned", SWEPT[6], 0.4)], best=1)
    text = document(store, tmp_path / "out")
    names = {run.run_id: run.name for run in store.search("")}
    text = re.sub(r"\b[0-9a-f]{32}\b", lambda found: names.get(found[0], found[0]), text)
    text = re.sub(r"search-[0-9a-f]{8}", "search-ID", text)
    if not GOLDEN.exists():
        GOLDEN.write_text(text)
        pytest.fail(f"{GOLDEN.name} was missing; it is written now, to be read and committed")
    assert text == GOLDEN.read_text()


def test_published_orientation(store, make, tmp_path):
    make.published()
    text = document(store, tmp_path)
    captions = re.findall(r"^### (Final .+|Training time.+)$", text, flags=re.MULTILINE)
    assert captions == [
        f"{caption}, {depth}"
        for depth in ("one hidden layer", "two hidden layers")
        for caption in (
            "Final training accuracy (%)",
            "Final training loss",
            "Final test accuracy (%)",
            "Final test loss",
            "Training time (s)",
        )
    ]
    first = tables_of(text)[0]
    assert first[0] == ["activation", "euclidean", "softmax_cross_entropy", "hinge"]
    assert [row[0] for row in first[1:]] == ["relu", "sigmoid", "gelu"]


def test_measured_published_and_difference_stand_in_each_cell(store, make, tmp_path):
    make.published(test_accuracy=lambda _config, value: value + 0.01)
    accuracy = tables_of(document(store, tmp_path))[2]
    assert accuracy[1][1] == "[95.38](#run-relu-euclidean-1h-test-epoch-50) / 94.38 / +1.00"


def test_cross_entropy_is_in_the_published_convention(store, make, tmp_path):
    make.published()
    loss = tables_of(document(store, tmp_path))[1]
    assert loss[1][2].endswith("/ 0.0133 / +0.0000")


def test_several_seeds_are_a_mean_with_its_spread(store, make, tmp_path):
    for seed, shift in ((0, -0.01), (1, 0.01)):
        make.published(seed=seed, test_accuracy=lambda _config, value, shift=shift: value + shift)
    text = document(store, tmp_path)
    assert tables_of(text)[2][1][1].startswith("[94.38 ± 1.41](#")
    assert "Up to 2 seeds" in text


def test_markdown_is_sound(store, make, tmp_path):
    make.published()
    make.search(trials=[("complete", SWEPT[1], 0.93), ("fail", SWEPT[2], 0.1)], best=0)
    text = document(store, tmp_path)
    for table in tables_of(text):
        assert len({len(row) for row in table}) == 1
    assert len(tables_of(text)) >= 19
    anchors = set(re.findall(r'<a id="([^"]+)">', text))
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
    images = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(images) == len(set(images)) == 18 + 2 + 1 + 1
    assert {str(path.relative_to(tmp_path)) for path in (tmp_path / "figures").iterdir()} == set(images)
    assert all((tmp_path / image).stat().st_size < 100_000 for image in images)


def test_half_a_grid_shows_what_is_missing_and_how_to_make_it(store, make, tmp_path):
    make.published(NETWORKS[:1])
    text = document(store, tmp_path)
    assert "25 networks are missing" in text
    assert "mlflow run . -e train -P activation=gelu -P loss=hinge -P test_epoch=50" in text
    first, *_ = tables_of(text)
    assert [cell for row in first[1:] for cell in row[1:]].count("missing") == 8


def test_other_data_stand_alone(store, make, tmp_path):
    digits = replace(BASE, dataset="digits")
    make.run(digits, digest="1" * 32, test_accuracy=0.5)
    make.run(BASE, test_accuracy=0.777)
    text = write(Runs(store, digits), tmp_path).read_text()
    assert "[50.00](#" in text
    assert "77.70" not in text
    assert "none stand beside these" in text


def test_second_writing_replaces_the_first(store, make, tmp_path):
    make.published(NETWORKS)
    document(store, tmp_path)
    (tmp_path / "figures" / "stale.png").write_bytes(b"")
    (tmp_path / "mine.txt").write_text("kept")
    assert document(store, tmp_path).startswith("# Results")
    assert not (tmp_path / "figures" / "stale.png").exists()
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_command_logs_the_report_to_its_run(store, make, tmp_path):
    make.published(NETWORKS[:2])
    commands.report(BASE, tmp_path / "out", {"dataset": "mnist"})
    [run] = store.search("attributes.run_name = 'report mnist'")
    assert run.status == "FINISHED"
    assert {file.path for file in store.client.list_artifacts(run.run_id)} == {"results.md", "figures"}
    assert (tmp_path / "out" / "results.md").exists()
