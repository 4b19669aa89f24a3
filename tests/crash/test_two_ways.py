"""`mlflow run` and `python -m pipeline` go on with what the other began, however the same values are spelled."""

import signal

import psutil
import pytest

from tests.crash.grids import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TRAINING = {"dataset": "digits", "init_std": "he", "batch_size": "50", "momentum": "0.9", "test_epoch": "2",
            "disp_freq": "10"}  # fmt: skip
ONE = {"learning_rate": "0.02", "max_epoch": "300"}
COMMANDS = {
    "train": {"activation": "sigmoid", "loss": "hinge", **ONE},
    "grid": {"activations": "relu,sigmoid", "losses": "hinge", "hidden_sizes": "128", "workers": "1", **ONE},
    "sweep": {"study": "learning_rate", "learning_rates": "0.02,0.1", "max_epochs": "300", "workers": "1"},
    "search": {"space": "learning_rate=0.01..0.1 log", "trials": "3", "confirm": "0", "workers": "1", **ONE},
}
SPELLED = {"learning_rate": "2e-2", "batch_size": "5e1", "momentum": ".9", "space": "learning_rate=1e-2..1e-1  log",
           "learning_rates": "2e-2,1e-1"}  # fmt: skip
"""The same values as another person types them."""
DEFAULTS = {
    "train": {"force": "False", "register": ""},
    "grid": {"force": "False", "register": "", "seeds": "0"},
    "sweep": {"force": "FALSE", "activation": ""},
    "search": {"study": "", "lag": "4.0"},
}
"""Options at their defaults, which the module leaves out."""


def by_module(grid, _parameters):
    return grid.start()


def by_launcher(grid, parameters):
    spelled = {name: SPELLED.get(name, value) for name, value in parameters.items()}
    return grid.launch({**spelled, **DEFAULTS[grid.command]})


def interrupt(command):
    """Stop it as Ctrl-C does, and wait for the launcher's end and for that of all that it started."""
    processes = psutil.Process(command.process.pid).children(recursive=True)
    command.signal_all(signal.SIGINT)
    assert command.end() != 0, command.output
    until(lambda: all(map(has_ended, processes)), "the end of what it started")


def has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("command", COMMANDS)
def test_what_one_way_began_the_other_goes_on_with(new_grid, command, monkeypatch):
    parameters = {**COMMANDS[command], **TRAINING}
    flags = tuple(word for name, value in parameters.items() for word in (f"--{name.replace('_', '-')}", value))
    kind = {"command": command, "networks": flags, "training": ()}
    with new_grid("uninterrupted", **kind) as grid:
        monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{grid.folder}/optuna.db")
        grid.finish()
        uninterrupted = grid.points()
    for name, first, second in (("onwards", by_launcher, by_module), ("back", by_module, by_launcher)):
        with new_grid(name, **kind) as grid:
            monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{grid.folder}/optuna.db")
            begun = first(grid, parameters)
            grid.wait_for_checkpoints(begun)
            interrupt(begun)
            again = second(grid, parameters)
            assert again.end() == 0, again.output
            assert "goes on after epoch" in again.output
            assert grid.points() == uninterrupted
            grid.assert_tidy()
