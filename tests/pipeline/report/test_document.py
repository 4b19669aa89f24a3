"""The whole document: golden, and sound whatever the store has."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from pipeline import commands
from pipeline.output import printable
from pipeline.report.document import write
from pipeline.report.measured import Runs, Search, Trial
from tests.pipeline.report.conftest import BASE, NETWORKS, SWEPT, answers

GOLDEN = Path(__file__).parent / "golden.md"
EUCLIDEAN = [config for config in (*NETWORKS, *SWEPT) if config.loss == "euclidean"]
PICTURES = {"networks.svg", "learning-rate.svg", "claims.svg", "curves-loss.svg", "curves-accuracy.svg"}


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


def after(text, heading):
    """The first table after a heading."""
    return tables_of(text.partition(f"\n{heading}\n")[2])[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a report that has everything: seeds, studies, another initialisation and a search."""
    from tests.pipeline.report.conftest import MadeRuns

    made, folder = MadeRuns(), tmp_path_factory.mktemp("whole")
    for seed, chance in enumerate((-1, 0, 1)):
        made.published(seed=seed, test_accuracy=lambda _config, value, by=chance / 1000: value + by)
    he = [replace(config, init_std="he") for config in EUCLIDEAN]
    made.published(he, test_accuracy=lambda _config, value: value + 0.004)
    states = [("complete", SWEPT[1], 0.93), ("complete", SWEPT[5], 0.96), ("pruned", SWEPT[6], 0.4)]
    trials = [
        Trial(number, state, replace(config, validation=True), accuracy, f"trial-{number}")
        for number, (state, config, accuracy) in enumerate(states)
    ]
    found = Search("weak", "0123456789", {"learning_rate": "0.003..0.3 log"}, SWEPT[5], 0.96, trials)
    texts = {"summary": "The study 'weak' has 3 of 3 trials finished.", "confirmation": "| trial |\n|-------|\n| 1 |"}
    made.searches = [replace(found, pictures={"history": b"PNG", "slice": b"PNG"}, **texts)]
    write(made, folder)
    return folder


def test_report_of_made_runs_is_the_golden_one(whole):
    """To renew the golden report after a change that is meant, delete the file and run this test twice."""
    text = (whole / "results.md").read_text()
    if not GOLDEN.exists():
        GOLDEN.write_text(text)
        pytest.fail(f"{GOLDEN.name} was missing; it is written now, to be read and committed")
    assert text == GOLDEN.read_text()


def test_first_screen_is_the_outcome(whole):
    first, *_ = (whole / "results.md").read_text().partition("\n## ")
    assert "published figures are reproduced" in first
    statements = tables_of(first)[0]
    assert statements[0] == ["claim", "statement", "verdict", "the number that decides"]
    claims = [row[1] for row in statements if row[1].startswith("**")]
    assert [row.partition(":")[0].strip("*") for row in claims] == [
        "Training time", "Convergence", "Accuracy", "Depth", "The weakest network", "Learning rate", "Sigmoid + hinge",
    ]  # fmt: skip
    assert "Best of the search `weak`" in first
    assert "of training on one core each" in first
    assert len(first.splitlines()) < 60


def test_no_line_is_longer_than_160_characters_outside_of_what_is_folded(whole):
    shown = re.sub(r"<details>.*?</details>", "", (whole / "results.md").read_text(), flags=re.DOTALL)
    assert max(map(len, shown.splitlines())) <= 160


def test_published_orientation(whole):
    text = (whole / "results.md").read_text()
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
    first = after(text, "### Final training accuracy (%), one hidden layer")
    assert first[0] == ["activation", "euclidean", "softmax_cross_entropy", "hinge"]
    assert [row[0] for row in first[1:]] == ["relu", "sigmoid", "gelu"]


def test_cells_show_measured_published_difference_and_mark(whole):
    text = (whole / "results.md").read_text()
    accuracy = after(text, "### Final test accuracy (%), one hidden layer")
    assert accuracy[1][1] == "94.38 ± 0.10 / 94.38 / +0.00 ✓"
    loss = after(text, "### Final training loss, one hidden layer")
    assert loss[1][2] == "0.0133 ± 0.0000 / 0.0133 / +0.0000 ✓"
    time = after(text, "### Training time (s), one hidden layer")
    assert time[3][3] == "623.3 ± 0.0 (1.86) / 623.3 (1.86)"


def test_networks_are_sorted_by_their_difference(whole):
    rows = after((whole / "results.md").read_text(), "## The networks")[1:]
    differences = [float(row[4]) for row in rows]
    assert len(rows) == 18
    assert differences == sorted(differences)


def test_study_has_the_rows_of_other_initialisations(whole):
    rows = after((whole / "results.md").read_text(), "## Learning rate of Sigmoid + Euclidean")[1:]
    assert [row[3] for row in rows] == ["0.01"] * 6 + ["he"] * 6


def test_markdown_is_sound(whole):
    text = (whole / "results.md").read_text()
    for table in tables_of(text):
        assert len({len(row) for row in table}) == 1
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
                for line in text.splitlines() if line.startswith("#")}  # fmt: skip
    anchors = set(re.findall(r'<a id="([^"]+)">', text)) | headings
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
    images = re.findall(r"!\[[^]]+\]\(figures/([^)]+)\)", text)
    assert len(images) == len(set(images))
    assert (
        {path.name for path in (whole / "figures").iterdir()}
        == set(images)
        == PICTURES | {"search-01234567-history.png", "search-01234567-slice.png"}
    )
    assert text.count("<details>") == text.count("</details>")


def test_tables_in_long_form_are_there(whole):
    assert {path.name for path in whole.iterdir()} == {"results.md", "results.csv", "comparisons.csv", "figures"}
    assert ",he," in (whole / "results.csv").read_text()


def test_one_seed_decides_nothing_and_says_so(made, tmp_path):
    made.published()
    text = write(made, tmp_path).read_text()
    assert "**0 of 72 published figures are reproduced**; 72 of one seed, whose chance is unknown." in text
    assert "not decided by these runs: one seed leaves its chance unknown" in " ".join(text.split())
    assert "## Initialisation" not in text


def test_half_a_grid_shows_what_is_missing_and_how_to_make_it(made, tmp_path):
    made.published(NETWORKS[:1])
    text = write(made, tmp_path).read_text()
    assert "25 networks are missing" in text
    assert "mlflow run . -e train -P activation=gelu -P loss=hinge -P test_epoch=50" in text
    first = after(text, "### Final test accuracy (%), one hidden layer")
    assert [cell for row in first[1:] for cell in row[1:]].count("missing") == 8


def test_other_data_stand_alone(store, make, tmp_path):
    digits = replace(BASE, dataset="digits")
    make.run(digits, digest="1" * 32, test_accuracy=0.5)
    make.run(BASE, test_accuracy=0.777)
    text = write(Runs(store, digits), tmp_path).read_text()
    assert "50.00" in text
    assert "77.70" not in text
    assert after(text, "## The networks")[1][0].startswith("[relu-euclidean-1h]")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a report on other data that has everything: seeds, a study, another initialisation and a search.

    A report on the published data was there before it.
    """
    from tests.pipeline.report.conftest import MadeRuns

    folder = tmp_path_factory.mktemp("alone")
    before = MadeRuns()
    before.published(NETWORKS[:1])
    write(before, folder)
    made = MadeRuns()
    made.base = replace(BASE, dataset="digits")
    for seed, chance in enumerate((-1, 0, 1)):
        for number, config in enumerate((*NETWORKS[::-1], *SWEPT[1:7])):
            accuracy = 0.9 + number / 1000 + chance / 10000
            made.run(replace(config, dataset="digits", seed=seed), test_accuracy=accuracy)
    for config in NETWORKS:
        made.run(replace(config, dataset="digits", init_std="he"))
    trained = replace(SWEPT[5], dataset="digits")
    trial = Trial(0, "complete", replace(trained, validation=True), 0.96, "trial-0")
    found = Search("weak", "0123456789", {"learning_rate": "0.003..0.3 log"}, trained, 0.96, [trial], first=trained)
    made.searches = [replace(found, summary="The study 'weak' has 1 of 1 trials finished.")]
    write(made, folder)
    return folder


def test_report_on_other_data_has_nothing_of_the_publication(alone):
    text = (alone / "results.md").read_text()
    first, _, rest = text.partition("\n## ")
    assert "The publication is about MNIST, so that nothing of it is compared" in " ".join(first.split())
    for word in ("publi", "claim", "conclusion", "statement", "nan", "✓", "✗"):
        assert word not in rest.lower()
    assert {path.name for path in alone.iterdir()} == {"results.md", "results.csv", "figures"}
    assert {path.name for path in (alone / "figures").iterdir()} == PICTURES - {"claims.svg"}
    assert all("published" not in path.read_text() for path in (alone / "figures").glob("*.svg"))


def test_first_screen_of_other_data_says_what_was_measured(alone):
    first, *_ = (alone / "results.md").read_text().partition("\n## ")
    assert first.startswith(
        "# Results on digits\n\n**relu-euclidean-1h is the most accurate of 18 networks: 91.70 [91.65, 91.75] % on the"
    )
    assert "gelu-hinge-2h is the least accurate: 90.00" in " ".join(first.split())
    assert "are missing" not in first
    assert "Best of the search `weak`" in first
    assert "of training on one core each" in first


def test_other_data_have_their_networks_by_accuracy_with_intervals_and_their_study(alone):
    text = (alone / "results.md").read_text()
    networks = after(text, "## The networks")
    assert networks[0] == ["network", "seeds", "test (%)", "95 % of seeds", "training (%)", "time (s)"]
    assert networks[1][1:] == ["3", "91.70 ± 0.01", "91.65, 91.75", "90.00 ± 0.00", "60.0 ± 0.0"]
    assert [float(row[2].split()[0]) for row in networks[1:]] == [number / 10 for number in range(917, 899, -1)]
    assert len(after(text, "## Learning rate of Sigmoid + Euclidean")) == 1 + 6
    assert "Sigmoid + Euclidean for 400 epochs" not in text
    assert after(text, "### weak")[1][0] == "best of the search"
    assert after(text, "## Initialisation")[0][1:] == [
        "initialisation", "Euclidean networks, test (%)", "all networks, test (%)",
    ]  # fmt: skip


def test_store_with_predictions_and_two_seeds(store, make, tmp_path):
    for config in NETWORKS[:3]:
        for seed in (0, 1):
            make.run(replace(config, seed=seed), right=answers(0.95, seed))
    text = write(Runs(store, BASE), tmp_path).read_text()
    assert "GELU is more accurate than ReLU" in text
    assert "Seeds 0, 1;" in text


def test_figure_that_cannot_be_drawn_does_not_take_the_report_along(made, tmp_path, monkeypatch):
    made.published(NETWORKS[:1])
    monkeypatch.setattr("pipeline.report.pictures.save", lambda *_: 1 / 0)
    text = write(made, tmp_path).read_text()
    assert "(Measured and published test accuracy of each network: the figure could not be drawn.)" in text


def test_second_writing_replaces_the_first(made, tmp_path):
    made.published(NETWORKS[:1])
    write(made, tmp_path)
    (tmp_path / "figures" / "stale.png").write_bytes(b"")
    (tmp_path / "mine.txt").write_text("kept")
    assert write(made, tmp_path).read_text().startswith("# Results")
    assert not (tmp_path / "figures" / "stale.png").exists()
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_command_logs_the_report_to_its_run(store, make, tmp_path):
    make.published(NETWORKS[:2])
    commands.report(BASE, tmp_path / "out", {"dataset": "mnist"})
    [run] = store.search("attributes.run_name = 'report mnist'")
    assert run.status == "FINISHED"
    logged = {file.path for file in store.client.list_artifacts(run.run_id)}
    assert logged == {"results.md", "results.csv", "comparisons.csv", "figures"}
    assert (tmp_path / "out" / "results.md").exists()


HOSTILE = "a\x1b[2J|b\n# heading\n\u202e"
ESCAPED = r"a\x1b[2J|b\n# heading\n\u202e"


def test_names_in_a_shared_store_cannot_change_the_files_of_the_report(store, make, tmp_path):
    """Whoever may write to the store chooses names of runs and studies, tags, parameters and texts of searches."""
    run_id = make.run(NETWORKS[0], tags={"processor": HOSTILE, "numpy": HOSTILE})
    foreign = make.run(replace(NETWORKS[0], dataset=HOSTILE, validation=True))
    make.search(trials=[("complete", NETWORKS[0], 0.9), ("complete", NETWORKS[1], 0.8)], best=0, study=HOSTILE)
    [search] = store.search("tags.space LIKE '%'")
    [trial] = store.search("tags.trial = '1'")
    store.client.update_run(run_id, name=HOSTILE)
    for changed, tag, value in (
        (search, "space", json.dumps({"learning_rate": HOSTILE, HOSTILE: HOSTILE})),
        (search, "best_run", foreign),
        (search, "mlflow.note.content", HOSTILE),
        (trial, "trial_state", HOSTILE),
    ):
        store.client.set_tag(changed.run_id, tag, value)
    store.client.log_text(search.run_id, HOSTILE, "confirmation.md")

    commands.report(BASE, tmp_path / "out", {"dataset": "mnist"})
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert set(files) == {"results.md", "results.csv", "comparisons.csv"}
    for text in files.values():
        assert printable(text) == text
    document = files["results.md"]
    assert f"\n### {ESCAPED}\n" in document
    [table] = [table for table in tables_of(document) if table[0][:2] == ["trial", "state"]]
    assert [row[1] for row in table[1:]] == ["complete", ESCAPED.lower()]
    assert "-P dataset=" not in document
    written = document.replace(f"\n\n{printable(HOSTILE)}\n\n", "")  # the text of a search is a document of its own
    assert "\n# heading" not in written


def test_networks_of_other_sizes_have_a_table_of_their_own(make, store, tmp_path):
    sizes = replace(BASE, hidden_sizes=(512, 256, 128), activation="gelu", loss="hinge")
    make.run(NETWORKS[0])
    make.run(sizes, test_accuracy=0.98, train_accuracy=0.99)
    make.run(replace(sizes, seed=1), test_accuracy=0.97, train_accuracy=0.99)
    make.run(replace(sizes, momentum=0.9, hidden_sizes=(64,)))
    text = write(Runs(store, BASE), tmp_path / "results").read_text()
    assert after(text, "## Networks of other sizes")[1:] == [
        ["gelu-hinge-512x256x128", "2", "97.50 ± 0.71", "99.00 ± 0.00", "60.0 ± 0.0"]
    ]
    assert "its conclusions, judged below, are about networks of 128" in " ".join(text.split())
