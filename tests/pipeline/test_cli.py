"""What a user can do wrong: one clear line, the right exit code, nothing left behind."""

import gzip
import socket
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def lines(result):
    return [line for line in result.stderr.splitlines() if line]


SIZES = "whole numbers from 1 up joined by x, the units of each hidden layer, as in 128 or 256x64"
INIT_STD = "a number above 0, he or xavier or lecun, or numbers for the layers joined by /, as in 0.05/0.15"
DEVIATIONS = "init_std is '0.1/0.2/0.3'; it has to be at most 2 numbers, because hidden_sizes=128 has 2 layers."
REPLACED = (
    "hidden_layers is '2', but there is no such option any more; give hidden_sizes, the units of each hidden layer: "
    "--hidden-sizes 128 or --hidden-sizes 256x64 (-P hidden_sizes=256x64)."
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "0"], "learning_rate is 0.0; it has to be a number above 0."),
        (["--learning-rate", "-1"], "learning_rate is -1.0; it has to be a number above 0."),
        (["--learning-rate", "nan"], "learning_rate is nan; it has to be a number above 0."),
        (["--max-epoch", "0"], "max_epoch is 0; it has to be a whole number from 1 up."),
        (["--batch-size", "0"], "batch_size is 0; it has to be a whole number from 1 up."),
        (["--batch-size", "1438"], "batch_size is 1438; it has to be at most 1437, the training images of digits."),
        (["--hidden-sizes", "0"], f"hidden_sizes is '0'; it has to be {SIZES}."),
        (["--hidden-sizes", "128,"], f"hidden_sizes is '128,'; it has to be {SIZES}."),
        (["--hidden-layers", "2"], REPLACED),
        (["--hidden_layers", "2"], REPLACED),  # MLflow passes a parameter that MLproject does not declare like this
        (["--momentum", "1"], "momentum is 1.0; it has to be a number from 0 to below 1."),
        (["--init-std", "0"], f"init_std is 0.0; it has to be {INIT_STD}."),
        (["--init-std", "0.1/x"], f"init_std is '0.1/x'; it has to be {INIT_STD}."),
        (["--init-std", "0.1/0.2/0.3"], DEVIATIONS),
        (["--seed", "-1"], "seed is -1; it has to be a whole number from 0 up."),
        (["--register", "a/b"], "register is 'a/b'; a name has to be of letters, digits, spaces, ., - and _."),
    ],
)
def test_bad_value_is_one_line_with_what_is_accepted(arguments, message):
    result = run("train", "--dataset", "digits", *arguments)
    assert result.exit_code == 2
    assert lines(result) == [f"Error: {message}"]
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize(
    ("arguments", "value", "accepted"),
    [
        (["train", "--activation", "tanh"], "'tanh'", "'relu', 'sigmoid', 'gelu'"),
        (["train", "--loss", "mse"], "'mse'", "'euclidean', 'softmax_cross_entropy', 'hinge'"),
        (["grid", "--hidden-sizes", "128,256-64"], "'256-64'", "joined by x"),
        (["grid", "--hidden-layers", "1,2"], "'1,2'", "hidden_sizes"),
        (["sweep", "--hidden-layers", "2"], "'2'", "hidden_sizes"),
        (["grid", "--activations", "relu,tanh"], "'tanh'", "relu or sigmoid or gelu"),
        (["grid", "--losses", "mse"], "'mse'", "euclidean or softmax_cross_entropy or hinge"),
        (["sweep", "--study", "depth"], "'depth'", "max_epoch or learning_rate or best_learning_rate_with_hinge"),
        (["sweep", "--activation", "tanh"], "'tanh'", "relu or sigmoid or gelu"),
        (["search", "--learning-rates", "0.1,0.2"], "'--learning-rates'", "--space 'learning_rate="),
        (["search", "--max_epochs", "50,90"], "'--max_epochs'", "--space"),
        (["search", "--epoch-step", "1"], "'--epoch-step'", "--space"),
        (["search", "--space", "learning_rate=0.1..inf"], "learning_rate=0.1..inf", "finite"),
        (["search", "--lag", "0"], "lag is 0", "from 1 up"),
        (["search", "--seeds", ""], "seeds is empty", "name one"),
        (["search", "--storage", "nonsense"], "'nonsense'", "sqlite:///optuna.db"),
        (["search", "--storage", "postgresql://me:secret@host/db"], "me:***@host", "PGPASSFILE"),
        (["report", "--max-epoch", "0"], "0", "from 1 up"),
    ],
)
def test_unknown_name_or_range_names_those_known(arguments, value, accepted):
    result = run(*arguments, "--dataset", "digits")
    assert result.exit_code == 2
    assert lines(result)[-1].startswith("Error: ")
    assert value in lines(result)[-1]
    assert accepted in lines(result)[-1]
    assert "secret" not in result.output


def test_unknown_data_set_names_those_known():
    result = run("train", "--dataset", "cifar")
    assert result.exit_code == 2
    [line] = lines(result)
    assert "'cifar'" in line
    assert "mnist" in line
    assert "digits" in line
    assert "source" in line


def test_empty_grid_is_refused():
    result = run("grid", "--dataset", "digits", "--seeds", "")
    assert result.exit_code == 2
    assert "seeds" in lines(result)[-1]


def test_source_that_lacks_a_file_is_named(tmp_path):
    (tmp_path / "source").mkdir()
    result = run("prepare", "--dataset", "other", "--source", str(tmp_path / "source"))
    assert result.exit_code in {1, 2}
    assert "train-images-idx3-ubyte" in lines(result)[-1]
    assert not list(Path("data").glob("other*"))


def test_damaged_source_leaves_nothing(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (source / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\5abcde")[:-4])
    result = run("prepare", "--dataset", "other", "--source", str(source))
    assert result.exit_code == 1
    assert len(lines(result)) == 1
    assert not list(Path("data").glob("other*"))


def test_data_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("prepare", "--dataset", "digits", "--data-dir", str(tmp_path / "file" / "data"))
    assert result.exit_code == 1
    assert str(tmp_path / "file") in lines(result)[-1]


def test_tracking_server_that_does_not_answer_stops_before_training(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr("pipeline.tracking.connection.OUTAGE_SECONDS", 0.5)
    result = run("grid", "--dataset", "digits")
    assert result.exit_code == 1
    [line] = lines(result)
    assert uri in line
    assert "MLFLOW_TRACKING_URI" in line
    assert not Path("data").exists()
    assert not Path("checkpoints").exists()


def test_scheduler_that_does_not_answer():
    result = run("grid", "--dataset", "digits", "--scheduler", "tcp://127.0.0.1:1", "--quiet")
    assert result.exit_code == 1
    assert "tcp://127.0.0.1:1" in lines(result)[-1]


def test_report_on_nothing_says_how_to_get_runs():
    result = run("report", "--dataset", "digits")
    assert result.exit_code == 1
    [line] = lines(result)
    assert "mlflow run . -e grid" in line
    assert not Path("results").exists()


def test_a_tilde_stands_for_the_home_folder_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    options = {option.name: option for command in main.commands.values() for option in command.params}
    paths = {name: option for name, option in options.items() if option.type.name == "path"}
    assert set(paths) == {"data_dir", "source", "checkpoint_dir", "images", "output"}
    for option in paths.values():
        context = click.Context(main)
        assert option.type_cast_value(context, "~/idx") == Path("/home/ada/idx")
        assert option.type_cast_value(context, "~nobody-of-that-name") == Path("~nobody-of-that-name")
