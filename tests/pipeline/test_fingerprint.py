"""What keeps finished runs in use: a changed copy of the project has to know the runs of the original."""

import os
import shutil
import subprocess
import sys

import pytest

from pipeline.commands import train_one
from pipeline.config import TrainingConfig
from tests.conftest import REPOSITORY

OPTIONS = ("--dataset", "digits", "--loss", "hinge", "--learning-rate", "0.1", "--init-std", "he", "--max-epoch", "1")
CONFIG = TrainingConfig(dataset="digits", loss="hinge", learning_rate=0.1, init_std="he", max_epoch=1)
FINGERPRINT = (
    "from pipeline.config import TrainingConfig as T;"
    f"print(T.from_parameters({CONFIG.parameters()}).fingerprint('data'))"
)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "copy"
    for package in ("model", "pipeline"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def edit(path, old, new):
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new))


def comment(project):
    edit(project / "model/losses.py", b"class Hinge", b"# A remark.\nclass Hinge")


def rename(project):
    edit(project / "model/losses.py", b"_classes_first", b"_transposed")


def new_field(project):
    field = b'    dropout: float = _parameter(0.0, "Share of units left out.")\n'
    edit(project / "pipeline/config.py", b"    seed: int =", field + b"    seed: int =")


def crlf(project):
    for source in project.rglob("*.py"):
        source.write_bytes(source.read_bytes().replace(b"\n", b"\r\n"))


CHANGES = [comment, rename, new_field, crlf]


def run(project, *arguments):
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_computes_the_same_keeps_the_fingerprint(project, change):
    change(project)
    assert run(project, "-c", FINGERPRINT).strip() == CONFIG.fingerprint("data")


def test_after_all_of_these_changes_a_finished_run_is_reused(project, settings, data_dir):
    train_one(CONFIG, settings, {})
    for change in CHANGES:
        change(project)
    table = run(project, "-m", "pipeline", "train", *OPTIONS, "--data-dir", str(data_dir), "--quiet")
    assert "trained by an earlier command" in table


def test_another_arithmetic_is_another_fingerprint(project):
    edit(project / "model/__init__.py", b"ARITHMETIC: Final = ", b"ARITHMETIC: Final = 1000 + ")
    assert run(project, "-c", FINGERPRINT).strip() != CONFIG.fingerprint("data")
