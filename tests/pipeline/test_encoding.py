"""What is not text in the locale's encoding is refused in one line, before anything is stored."""

from click.testing import CliRunner

from pipeline.cli import main

UNREADABLE = "日本".encode().decode("ascii", "surrogateescape")
"""What Python makes of an argument where the encoding is ASCII: LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0."""


def test_argument_that_is_not_text_is_refused_because_no_store_can_keep_it():
    result = CliRunner().invoke(main, ["search", "--dataset", "digits", "--study", UNREADABLE])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "Error: The argument, '日本', is not text in the encoding utf-8; give it in UTF-8."
    ]


def test_variable_that_is_not_text_is_refused(monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "\udcff")
    assert "The value of MLFLOW_EXPERIMENT_NAME, '\ufffd', is not text" in CliRunner().invoke(main, ["grid"]).stderr


def test_folder_whose_name_is_not_text_is_refused(monkeypatch, tmp_path):
    folder = tmp_path / "\udcff"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert (
        f"The name of the current folder, '{tmp_path}/\ufffd', is not text" in CliRunner().invoke(main, ["grid"]).stderr
    )
