"""A step's code fingerprint: what its results depend on, as far as our own code goes.

Snakemake sees neither imports nor installed code. So every rule passes ``code=fingerprint("steps.NAME")`` as a
parameter: edit a formula, and whatever depends on it is rerun. Only what can change a result counts: comments,
docstrings, help texts, log lines, the words of an error and the frame that a step runs in do not.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
from functools import cache
from pathlib import Path

from pagoda.errors import BadInput

SILENT = ("pagoda.errors", "pagoda.log", "pagoda.options", "pagoda.run")
"""Modules and packages that reach no result. The values of options do, and stand in the step's command."""
ROOT = Path(__file__).resolve().parents[2]


def fingerprint(module: str, root: Path = ROOT) -> str:
    """Return 12 hexadecimal digits that identify `module` and all modules below `root` that it imports.

    Imports inside functions count too. The digest is one of syntax trees, the same for every Python version that we
    support.

    Args:
        module: dotted name, e.g. "steps.train".
        root: the folder that holds the packages.

    """
    digest = hashlib.sha256()
    for name in sorted(import_closure(module, root)):
        digest.update(f"{name}\n{_read(_path(name, root), root)[1]}\n".encode())
    return digest.hexdigest()[:12]


def factory_fingerprint(architecture: dict, folder: Path | None = None) -> str:
    """Identify the code of an architecture's factories, "module:function"; "" where it has none.

    A network before it or within it, a mapping among its options, may have one too.

    Where the module's file lies below `folder` (default: the current one), that is a digest as `fingerprint` makes, of
    it and of what it imports from there; else the name of the installed package, and its version.

    Raises:
        BadInput: where there is no such module.

    """
    parts = "".join(factory_fingerprint(part, folder) for part in architecture.values() if isinstance(part, dict))
    if "factory" not in architecture:
        return parts
    module, folder = architecture["factory"].partition(":")[0], folder or Path.cwd()
    if _path(module, folder).is_file():
        return f"+{fingerprint(module, folder)}{parts}"
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise BadInput(
            f"factory {architecture['factory']!r}: no module {module} in {folder}, and none that is installed"
        )
    try:
        return f"+{package}=={importlib.metadata.version(package)}{parts}"
    except importlib.metadata.PackageNotFoundError:  # a distribution of another name, or none
        return f"+{package}{parts}"


def import_closure(module: str, root: Path = ROOT) -> set[str]:
    """Return the names of `module` and of every module below `root` but the SILENT that it imports, directly or not."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and not any(f"{name}.".startswith(f"{silent}.") for silent in SILENT):
            found.add(name)
            waiting += direct_imports(_path(name, root), root)
    return found


def direct_imports(path: Path, root: Path = ROOT) -> frozenset[str]:
    """Return the dotted names of the modules below `root` that the file at `path` imports, and of their packages."""
    return _read(path, root)[0]


def _path(module: str, root: Path) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _read(path: Path, root: Path) -> tuple[frozenset[str], str]:
    """Return what the file at `path` imports, and its syntax tree as text."""
    tree, names = ast.parse(path.read_text(encoding="utf-8"), filename=str(path)), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    prefixes = {".".join(part[:k]) for part in parts for k in range(1, len(part) + 1)}
    return frozenset(name for name in prefixes if _path(name, root).is_file()), _canonical(tree)


def _canonical(node: object) -> str:
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(body := fields.get("body"), list):
        fields["body"] = [statement for statement in body if not _says_only(statement)]
    match node:
        case ast.Raise(exc=ast.Call(func=raised)):  # the words of an error
            fields["exc"] = raised
        case ast.Call(func=ast.Name(id="option"), args=[_, *others]):  # the help of an option
            fields["args"] = others
    kept = (f"{name}={_canonical(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({','.join(kept)})"


def _says_only(statement: ast.stmt) -> bool:
    """Tell whether a statement is a docstring or a log line."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="logger")))):
            return True
    return False
