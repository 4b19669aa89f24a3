"""MLproject, command line, environments and README say the same."""

import re
import shlex
import subprocess
import sys
import tomllib

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from pipeline.cli import main
from tests import mlproject
from tests.conftest import REPOSITORY

MLPROJECT = yaml.safe_load((REPOSITORY / "MLproject").read_text())
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
COMMANDS = {"main": "reproduce"}
REQUIRED = {"predict": ["--model", "m", "--images", "i"], "verify": ["--run", "r"]}


def command_of(entry_point):
    return main.commands[COMMANDS.get(entry_point, entry_point)]


def test_mlproject_is_what_the_command_line_gives():
    assert (REPOSITORY / "MLproject").read_text() == mlproject.text(), "run python -m tests.mlproject"


def test_every_command_is_an_entry_point():
    assert {COMMANDS.get(name, name) for name in MLPROJECT["entry_points"]} == set(main.commands)


@pytest.mark.parametrize("name", MLPROJECT["entry_points"])
def test_entry_point_passes_every_option_of_its_command(name):
    entry = MLPROJECT["entry_points"][name]
    words = shlex.split(entry["command"])
    assert words[:4] == ["python", "-m", "pipeline", COMMANDS.get(name, name)]
    passed = dict(zip(words[4::2], words[5::2], strict=True))
    options = {
        option.opts[0] for option in command_of(name).params if isinstance(option, click.Option) and not option.hidden
    }
    assert set(passed) == options
    assert sorted(passed.values()) == sorted(f"{{{parameter}}}" for parameter in entry["parameters"])


@pytest.mark.parametrize("name", MLPROJECT["entry_points"])
def test_entry_point_has_the_defaults_of_its_command(name):
    entry = MLPROJECT["entry_points"][name]
    words = shlex.split(entry["command"])
    names = {option: value.strip("{}") for option, value in zip(words[4::2], words[5::2], strict=True)}
    command = command_of(name)
    context = click.Context(command)
    defaults = command.make_context(name, REQUIRED.get(name, [])).params
    for option in command.params:
        if option.hidden:
            continue
        described = entry["parameters"][names[option.opts[0]]]
        if option.required:
            assert described == ("path" if option.name == "images" else "string")
        else:
            assert option.type_cast_value(context, str(described["default"])) == defaults[option.name], option.name


def ranges():
    return {(found := Requirement(text)).name: found for text in PYPROJECT["project"]["dependencies"]}


def pins():
    *_, pip = yaml.safe_load((REPOSITORY / "conda.yaml").read_text())["dependencies"]
    return {(found := Requirement(text)).name: found for text in pip["pip"]}


def test_conda_pins_every_dependency_of_pyproject_within_its_range():
    assert pins().keys() == ranges().keys()
    for name, pin in pins().items():
        [specifier] = pin.specifier
        assert specifier.operator == "=="
        assert ranges()[name].specifier.contains(specifier.version), name
        assert pin.extras == ranges()[name].extras


def test_releases_are_current():
    for name, major in {"mlflow": 3, "optuna": 5, "numpy": 2, "pandas": 3, "click": 8}.items():
        [specifier] = pins()[name].specifier
        assert Version(specifier.version).major == major


def test_ci_runs_the_tests_as_the_readme_says():
    readme = (REPOSITORY / "README.md").read_text()
    commands = re.findall(r"```\n(.+?)\n```", readme, flags=re.DOTALL)[:2]
    steps = commands[1].split(" && ")
    script = (REPOSITORY / ".ci/run").read_text()
    assert all(step.replace("pip install -e", "pip install --quiet --editable") in script for step in steps)


def test_help_needs_none_of_the_heavy_libraries():
    code = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print(*{'mlflow', 'optuna', 'distributed', 'sklearn', 'scipy', 'matplotlib', 'rich'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_no_file_is_a_store_or_a_lock():
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert not [name for name in listed.split() if name.endswith((".db", ".lock"))]


@pytest.mark.parametrize("depth", ["one hidden layer", "two hidden layers"])
def test_readme_shows_the_accuracies_of_the_results(depth):
    readme = (REPOSITORY / "README.md").read_text()
    results = (REPOSITORY / "docs/results.md").read_text()
    table = results.split(f"### Final test accuracy (%), {depth}\n\n")[1].split("\n\n")[0]
    for line in re.sub(r"\[([^]]+)\]\(#[^)]+\)", r"\1", table).splitlines()[2:]:
        assert "| " + " | ".join(cell.strip() for cell in line.strip("|").split("|")) + " |" in readme


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", (REPOSITORY / "README.md").read_text())
    assert len(links) > 3
    assert all((REPOSITORY / link).exists() for link in links)
