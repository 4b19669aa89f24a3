"""One module made of several, because the code of a stored model must not import anything from this project.

If stored code contained `import model`, it could import a user's own `model.py`, or the `model` package of another
release of this project. One module that holds all the code has no such import.
"""

import ast
import symtable
from collections.abc import Iterator
from pathlib import Path


def bundle(main: Path, package: Path) -> str:
    """Join a module and all modules of a package that it imports.

    Args:
        main: the module's file.
        package: the folder of the package; its modules import each other as `from package.module import name`.

    Returns:
        The text of one module, in which each module comes after the modules that it imports; `main` is the last.

    Raises:
        ValueError: a module imports in another way, or two modules define the same name.
    """
    texts: dict[str, str] = {}
    _add(main, package, texts)
    _refuse_collisions(texts)
    header = f'"""{", ".join(texts)} in one file, which needs none of the others."""\n'
    return "\n\n".join([header, *(f"# {name}\n\n{text}" for name, text in texts.items())])


def _add(file: Path, package: Path, texts: dict[str, str]) -> None:
    """Add the text of a module to `texts`, after the modules that it imports."""
    name = f"{file.parent.name}/{file.name}"
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    for statement, module in _imports(ast.parse(source), package.name, name):
        needed = package / f"{module}.py"
        if f"{package.name}/{needed.name}" not in texts:
            _add(needed, package, texts)
        for number in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1):
            lines[number - 1] = ""
    texts[name] = "\n".join(lines).strip() + "\n"


def _imports(tree: ast.Module, package: str, name: str) -> Iterator[tuple[ast.stmt, str]]:
    """Find the statements that import from the package, each with the name of the imported module."""
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Import):
            module, joinable = statement.names[0].name, False
        elif isinstance(statement, ast.ImportFrom):
            module = statement.module or ""
            joinable = "." in module and statement in tree.body and not any(each.asname for each in statement.names)
        else:
            continue
        top, _, rest = module.partition(".")
        if top == package:
            if not joinable:
                raise ValueError(f"{name} has to import from modules of {package} at its top, names as they are.")
            yield statement, rest


def _refuse_collisions(texts: dict[str, str]) -> None:
    owners: dict[str, str] = {}
    for name, text in texts.items():
        for symbol in symtable.symtable(text, name, "exec").get_symbols():
            if symbol.is_assigned() and not symbol.is_imported():
                owner = owners.setdefault(symbol.get_name(), name)
                if owner != name:
                    raise ValueError(
                        f"{owner} and {name} both define {symbol.get_name()}; one of them has to rename it."
                    )
