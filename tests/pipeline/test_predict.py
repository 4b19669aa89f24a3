import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from pipeline.cli import main
from pipeline.commands import train_one
from pipeline.config import TrainingConfig
from pipeline.data import datasets
from pipeline.data.drawn_digits import read_images
from pipeline.data.idx import write_idx
from pipeline.tracking.models import load_served
from tests.conftest import REPOSITORY


@pytest.fixture
def predict(monkeypatch):
    """Run the command in this process, which keeps its own answer to Ctrl-C."""
    monkeypatch.setattr("pipeline.training.signals.interruptible", lambda: None)
    # A process of its own sets this once; here, `isolated` takes it away before every test.
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    return lambda model, images: CliRunner().invoke(main, ["predict", "--model", model, "--images", str(images)])


@pytest.fixture
def digits(data_dir):
    dataset = datasets.load("digits", data_dir)
    return dataset.images("test", np.arange(len(dataset.test)))


@pytest.fixture
def idx(tmp_path, digits):
    write_idx(tmp_path / "images", digits)
    return tmp_path / "images"


def said(output):
    """The classes in a printed table, by image."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("|")]
    return {row[0]: int(row[1]) for row in rows[2:] if row[1] != "-"}


def doubts(output):
    """The last column of a printed table, by image."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("|")]
    assert rows[0][-1] == "doubt"
    return {row[0]: row[-1] for row in rows[2:]}


def test_the_model_of_a_run_is_found_whatever_its_name(trained, predict, idx):
    by_run = predict(f"runs:/{trained.outcome.run_id}/model", idx)
    assert by_run.exit_code == 0
    assert by_run.output == predict(trained.model, idx).output


def test_an_idx_file_is_classified_and_logged(trained, predict, idx, digits, data_dir):
    done = predict(trained.model, idx)
    assert done.exit_code == 0
    assert done.output.endswith("\n\n260 more are in predictions.csv.\n")
    run = next(trained.store.search("attributes.run_name = 'predict'", ["attributes.start_time DESC"]))
    assert run.status == "FINISHED"
    assert run.parameters == {"model": trained.model, "images": str(idx)}
    assert done.output.strip() in run.description
    client = trained.store.client
    assert {file.path for file in client.list_artifacts(run.run_id)} == {"predictions.csv", "predictions.png"}
    text = Path(client.download_artifacts(run.run_id, "predictions.csv")).read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["image"] for row in rows] == [str(number) for number in range(len(digits))]
    classes = np.array([int(row["class"]) for row in rows])
    scores = np.array([[float(row[f"score_{label}"]) for label in range(10)] for row in rows])
    np.testing.assert_array_equal(scores.argmax(axis=1), classes)
    assert said(done.output) == {str(number): label for number, label in enumerate(classes[:100])}
    labels = datasets.load("digits", data_dir).test.labels
    assert np.mean(classes == labels) == pytest.approx(trained.outcome.metrics["test_accuracy"])
    (used,) = client.get_run(run.run_id).inputs.model_inputs
    assert used.model_id == trained.store.models(trained.outcome.run_id)[0].model_id


def test_a_folder_of_drawings_is_classified_by_a_command_of_its_own(trained, digits, tmp_path):
    folder = tmp_path / "drawings"
    folder.mkdir()
    for number, image in enumerate(digits[:3]):
        Image.fromarray(image).save(folder / f"{number}.png")
    command = [sys.executable, "-m", "pipeline", "predict", "--model", trained.model, "--images", str(folder)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True
    )
    assert list(said(done.stdout)) == ["0.png", "1.png", "2.png"]
    assert done.stderr == ""


def test_one_score_more_is_shown(trained, predict, idx):
    header, _, first, *_ = predict(trained.model, idx).output.splitlines()
    assert [cell.strip() for cell in header.split("|")[1:-1]] == [
        "image",
        "class",
        "score",
        "next class",
        "its score",
        "doubt",
    ]
    _, best, score, second, its_score = (float(cell) for cell in first.split("|")[1:-2])
    assert best != second
    assert score >= its_score


def test_doubt_is_shown_in_the_last_column(trained, predict, digits, tmp_path):
    write_idx(tmp_path / "images", np.stack([digits[0], np.zeros((8, 8), np.uint8)]))
    done = predict(trained.model, tmp_path / "images")
    assert done.exit_code == 0
    assert doubts(done.output)["1"] == "blank"
    assert list(said(done.output)) == ["0"]
    run = next(trained.store.search("attributes.run_name = 'predict'", ["attributes.start_time DESC"]))
    rows = Path(trained.store.client.download_artifacts(run.run_id, "predictions.csv")).read_text().splitlines()
    assert rows[0].endswith(",doubt")
    assert rows[2] == "1,,,,,,,,,,,,blank"


def test_a_bad_picture_is_named_after_the_others_are_classified(trained, predict, digits, tmp_path):
    folder = tmp_path / "drawings"
    folder.mkdir()
    Image.fromarray(digits[0]).save(folder / "a.png")
    (folder / "b.png").write_text("not a drawing")
    for name in ("notes.txt", "labels.csv", ".hidden"):
        (folder / name).write_text("no picture")
    done = predict(trained.model, folder)
    assert done.exit_code == 1
    assert list(said(done.stdout)) == ["a.png"]
    assert done.stdout.endswith("\n\n2 files left out, because only pictures are classified.\n")
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: 1 of 2 pictures cannot be read, the others are classified: ")
    assert f"{folder / 'b.png'} cannot be read as a picture" in line
    run = next(trained.store.search("attributes.run_name = 'predict'", ["attributes.start_time DESC"]))
    assert run.status == "FINISHED"
    assert "b.png cannot be read as a picture" in run.description


def bad_images(tmp_path):
    (tmp_path / "text.png").write_text("not a drawing")
    (tmp_path / "text.idx").write_text("not an idx file")
    (tmp_path / "cut").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8, 1, 2]))
    write_idx(tmp_path / "labels", np.arange(10, dtype=np.uint8))
    write_idx(tmp_path / "larger", np.ones((2, 28, 28), np.uint8))
    write_idx(tmp_path / "none", np.zeros((0, 8, 8), np.uint8))
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("nowhere", "nowhere', which is not there"),
        (
            "text.png",
            "cannot be read as a picture (it is of no known format); save it as PNG, JPEG, WebP, BMP, GIF or TIFF.",
        ),
        (
            "text.idx",
            "is no idx file: its content begins with 6e 6f 74 20; it has to be an idx file, plain or compressed",
        ),
        ("cut", "promises 576 bytes in its header and holds 2"),
        ("labels", "holds unsigned bytes in 1 dimension; they have to be whole numbers from 0 to 255 in 3 dimensions."),
        ("larger", "expected are numbers from 0 (background) to 255 (ink) in an array of shape (N, 64) or (N, 8, 8)."),
        ("none", "holds no images"),
        ("folder", "a folder without pictures"),
    ],
)
def test_bad_images_are_one_clear_line(trained, predict, tmp_path, name, fault):
    bad_images(tmp_path)
    before = list(trained.store.search(""))
    done = predict(trained.model, tmp_path / name)
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert line.startswith("Error: ")
    assert fault in line
    assert list(trained.store.search("")) == before


@pytest.mark.parametrize(
    "model", [f"runs:/{'0' * 32}/model", "models:/nobody@champion", "models:/nobody/1", "nowhere", "ftp:/x", ""]
)
def test_a_model_that_cannot_be_had_is_one_clear_line(trained, predict, idx, model):
    done = predict(model, idx)
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert line.startswith(f"Error: model is {model!r}, which cannot be had (")
    assert line.endswith("); it has to be runs:/RUN/model, models:/NAME/VERSION or models:/NAME@champion.")


def test_what_is_not_given_is_bad_usage(monkeypatch):
    monkeypatch.setattr("pipeline.training.signals.interruptible", lambda: None)
    done = CliRunner().invoke(main, ["predict", "--model", "runs:/x/model"])
    assert done.exit_code == 2
    assert "Missing option '--images'" in done.output


@pytest.mark.long
def test_digits_drawn_as_people_do_are_recognised(mnist, tmp_path, settings):
    """MNIST's own test images as drawings, dark on light and of any size, say as much as they do as they are."""
    settings = replace(settings, data_dir=tmp_path / "data", source=mnist)
    outcome = train_one(TrainingConfig(loss="hinge", learning_rate=0.03, init_std="he", max_epoch=2), settings, {})
    dataset = datasets.load("mnist", settings.data_dir)
    images, labels = dataset.images("test", np.arange(300)), dataset.test.labels[:300]
    folder = tmp_path / "drawings"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number, image in enumerate(images):
        sheet, side = Image.new("L", (600, 500), 235), int(draw.integers(100, 400))
        drawn = ImageOps.invert(Image.fromarray(image)).resize((side, side), Image.Resampling.BICUBIC)
        sheet.paste(
            drawn.point(lambda grey: grey * 235 // 255), tuple(int(draw.integers(space - side)) for space in sheet.size)
        )
        sheet.save(folder / f"{number:03}.png")
    model = load_served(f"runs:/{outcome.run_id}/model")
    as_they_are = np.mean(model.predict(images)[0] == labels)
    as_drawn = np.mean(model.predict(read_images(folder, (28, 28)).images)[0] == labels)
    assert as_they_are > 0.9
    assert as_drawn > as_they_are - 0.03
