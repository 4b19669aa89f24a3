"""Imports point one way: from the command line down to the network, and each large library has its wing."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

LAYERS = [
    {"model"},
    {
        "pipeline.encoding",
        "pipeline.errors",
        "pipeline.files",
        "pipeline.log",
        "pipeline.options",
        "pipeline.output",
        "pipeline.redaction",
    },
    {"pipeline.config"},
    {"pipeline.names"},
    {"pipeline.experiments", "pipeline.training.task", "pipeline.report.published"},
    {"pipeline.data", "pipeline.tracking", "pipeline.display"},
    {"pipeline.training"},
    {"pipeline.report"},
    {"pipeline.search"},
    {"pipeline.commands"},
    {"pipeline.shared_options"},
    {"pipeline.cli"},
    {"pipeline.__main__"},
]
"""From below to above: a file imports its own layer and those before it."""
HOMES = {
    "mlflow": ("pipeline/tracking/", "pipeline/training/serving.py", "pipeline/training/classifier.py"),
    "optuna": ("pipeline/search/",),
    "dask": ("pipeline/training/cluster.py", "pipeline/training/executor.py"),
    "distributed": ("pipeline/training/cluster.py", "pipeline/training/executor.py"),
}
SOURCES = sorted(path for wing in ("model", "pipeline") for path in (REPOSITORY / wing).rglob("*.py"))


def name_of(path):
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """The modules that a file imports, anywhere in it, with the names that it takes from each; not those for types."""
    tree = ast.parse(path.read_text())
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module, tuple(alias.name for alias in node.names)


def layer(module):
    """The layer of the longest name that contains the module."""
    found = [(len(name), number) for number, names in enumerate(LAYERS) for name in names if within(module, name)]
    return max(found)[1] if found else None


def within(module, name):
    return module == name or module.startswith(f"{name}.")


def exists(module):
    path = REPOSITORY / Path(*module.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def upward(path):
    """What a file imports from above it."""
    own = layer(name_of(path))
    for module, names in imports(path):
        for target in [f"{module}.{name}" for name in names if exists(f"{module}.{name}")] or [module]:
            if layer(target) is not None and layer(target) > own:
                yield f"{name_of(path)} imports {target}"


def test_every_file_has_a_layer():
    assert [name_of(path) for path in SOURCES if layer(name_of(path)) is None] == ["pipeline"]


def test_a_file_imports_what_is_below_it():
    assert [each for path in SOURCES if name_of(path) != "pipeline" for each in upward(path)] == []


def test_no_file_imports_a_private_name():
    assert [
        f"{name_of(path)} imports {name} from {module}"
        for path in SOURCES
        for module, names in imports(path)
        for name in (*module.split("."), *names)
        if name.startswith("_") and not name.endswith("__")
    ] == []


def test_a_large_library_is_imported_in_its_own_wing():
    assert [
        f"{path} imports {module}"
        for path in SOURCES
        for module, _ in imports(path)
        if not path.relative_to(REPOSITORY).as_posix().startswith(HOMES.get(module.split(".")[0], ""))
    ] == []


def test_the_network_knows_numpy_alone():
    found = {module.split(".")[0] for path in (REPOSITORY / "model").glob("*.py") for module, _ in imports(path)}
    assert found <= {"model", "numpy", *sys.stdlib_module_names}


def test_a_command_loads_no_large_library_before_it_needs_one():
    code = "import sys, pipeline.commands; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    large = {"dask", "distributed", "matplotlib", "mlflow", "optuna", "pandas", "scipy", "sklearn", "sqlalchemy"}
    assert large & set(loaded.stdout.split()) == set()
