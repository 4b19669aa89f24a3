"""The quick benchmark gives ratios with their spread, or says why it cannot."""

import itertools
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import quick
from benchmarks.contenders import Measured
from benchmarks.crews import Nine
from benchmarks.job import NINE
from benchmarks.noise import EXIT_STATUS
from benchmarks.quick import Quick, Ratio, text
from benchmarks.section import Settings


@pytest.mark.parametrize(
    ("samples", "larger", "reached"),
    [([1.2, 1.3, 1.4], True, "yes"), ([1.0, 1.2, 1.4], True, "open"), ([0.9, 1.0, 1.1], True, "no"),
     ([0.9, 1.0, 1.1], False, "yes"), ([1.0, 1.2, 1.4], False, "open"), ([1.2, 1.3, 1.4], False, "no")],
)  # fmt: skip
def test_an_aim_between_the_quartiles_is_open(samples, larger, reached):
    assert Ratio("ratio", samples, 1.15, larger=larger).row()[-1] == reached


def test_a_row_has_median_and_quartiles():
    assert Ratio("ratio", [1.0, 2.0, 3.0, 4.0, 5.0], 1.5).row() == [
        "ratio", "3.00", "2.00 to 4.00", "at least 1.50", "yes",
    ]  # fmt: skip
    assert Ratio("share", [0.9]).row() == ["share", "0.90", "0.90 to 0.90", "", ""]


class Quiet:
    verdict_text = ""

    def __init__(self, _stack):
        self.looks = 0

    def look(self):
        self.looks += 1

    def verdict(self):
        return self.verdict_text


class Clockwork:
    """A process in which JAX takes 1.2 times our time, PyTorch 2.4 times, and GELU 1.1 times ReLU's."""

    def run(self, _function, *args):
        if not args:
            return 1e9
        return Measured(self.factor * (1.1 if args[0][0].activation == "gelu" else 1.0), [0.9])

    def close(self):
        pass


@pytest.fixture
def clockwork(monkeypatch):
    factors = {"numpy": 1.0, "jax": 1.2, "jax-vectorised": 1.3, "torch": 2.4}

    def start(self, *_args, alone):
        for process in self.processes:
            process.factor = factors[self.name]

    def train_nine(self, _epochs):
        self.samples.append(Nine(9 * factors[self.name], 9 * factors[self.name], dict.fromkeys(NINE, 0.9)))

    monkeypatch.setattr(quick, "Process", lambda _cores: Clockwork())
    monkeypatch.setattr(quick, "Noise", Quiet)
    monkeypatch.setattr(quick, "present", lambda: [*factors][:-1])
    monkeypatch.setattr(quick.Crew, "start", start)
    monkeypatch.setattr(quick.Crew, "train_nine", train_nine)
    return monkeypatch


def settings(data_dir, **values):
    contenders = ("jax", "jax-vectorised", "torch")
    return Settings(dataset="digits", data_dir=data_dir, folder=Path(), contenders=contenders,
                    **{"epochs": 1, "whole_epochs": 1, "grid_epochs": 1, "rounds": 1} | values)  # fmt: skip


def test_ratios_are_of_measurements_of_one_round(clockwork, data_dir):
    with ExitStack() as stack:
        measured = Quick(settings(data_dir), lambda _text: None)
        measured.open(stack)
        clock = itertools.count()
        clockwork.setattr(quick.time, "monotonic", lambda: next(clock))
        assert measured.measure(until=20) > 5
        found = {ratio.text: ratio.row()[1] for ratio in measured.ratios()}
    assert found["one core, relu euclidean: time of JAX / ours"] == "1.20"
    assert found["one core: GELU's time / ReLU's"] == "1.10"
    [best] = [value for text, value in found.items() if "JAX at its best (scan) / ours" in text]
    assert best == "1.20"
    assert not [text for text in found if "PyTorch" in text]
    shown = text(measured, 6, 4.9, "")
    assert "PyTorch, eager, data in memory is left out: it is not installed; pip install -e '.[bench]'" in shown
    assert "6 rounds, 4.9 minutes, digits." in shown


def test_a_slow_machine_has_some_rounds_in_any_case(clockwork, data_dir):
    with ExitStack() as stack:
        measured = Quick(settings(data_dir), lambda _text: None)
        measured.open(stack)
        assert measured.measure(until=0) == 5


@pytest.mark.parametrize(("verdict", "status"), [("", 0), ("too noisy to judge: a test. Measure again.", EXIT_STATUS)])
def test_a_noisy_machine_gets_no_result(clockwork, data_dir, verdict, status):
    clockwork.setattr(Quiet, "verdict_text", verdict)
    clockwork.setattr(command, "_QUICK_SECONDS", 0)
    clockwork.setattr(command, "exit_on_signals", lambda: None)
    done = CliRunner().invoke(command.main, ["--quick", "--dataset", "digits", "--data-dir", str(data_dir)])
    assert done.exit_code == status, done.output
    assert (verdict or "quartiles") in done.stdout
    assert ("quartiles" in done.stdout) == (not verdict)


@pytest.mark.parametrize(("verdict", "status"), [("", 0), ("too noisy to judge: a test. Measure again.", EXIT_STATUS)])
def test_a_noisy_full_run_leaves_the_document_as_it_was(monkeypatch, data_dir, tmp_path, verdict, status):
    document = tmp_path / "benchmarks.md"
    document.write_text("before")
    monkeypatch.setattr(command, "exit_on_signals", lambda: None)
    monkeypatch.setattr(command, "measured", lambda _settings: ([], verdict))
    arguments = ["--dataset", "digits", "--data-dir", str(data_dir), "--output", str(document)]
    done = CliRunner().invoke(command.main, arguments)
    assert done.exit_code == status, done.output
    assert (document.read_text() == "before") == bool(verdict)
    assert ("stays as it was." in done.stdout) == bool(verdict)
