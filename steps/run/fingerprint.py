"""A step's code fingerprint: what its results depend on, as far as our own code goes.

Snakemake sees neither imports nor installed code. So every rule passes ``code=fingerprint("steps.NAME")`` as a
parameter: edit a formula, and whatever depends on it is rerun; edit a comment or a docstring, and nothing is.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

SILENT = {"steps.run.launch", "steps.run.log", "steps.run.progress", "steps.run.warm"}
"""Modules whose doings reach no result: they do not count."""
ROOT = Path(__file__).resolve().parents[2]


def fingerprint(module: str, root: Path = ROOT) -> str:
    """Return 12 hexadecimal digits that identify `module` and all modules of ours that it imports.

    Imports inside functions count too. The digest is one of syntax trees without comments, docstrings, layout and
    empty fields; those are the same for every Python version that we support.

    Args:
        module: dotted name, e.g. "steps.train".
        root: the folder that holds the package.

    """
    digest = hashlib.sha256()
    for name in sorted(import_closure(module, root) - SILENT):
        digest.update(f"{name}\n{_syntax(_path(name, root))}\n".encode())
    return digest.hexdigest()[:12]


def import_closure(module: str, root: Path = ROOT) -> set[str]:
    """Return the dotted names of `module` and of every module in the same package that it imports, directly or not."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += direct_imports(_path(name, root), module.partition(".")[0], root)
    return found


def direct_imports(path: Path, package: str, root: Path = ROOT) -> set[str]:
    """Return the dotted names of the modules of `package` that the file at `path` imports, and their packages."""
    names: set[str] = set()
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    prefixes = {".".join(part[:k]) for part in parts if part[0] == package for k in range(1, len(part) + 1)}
    return {name for name in prefixes if _path(name, root).is_file()}


def _path(module: str, root: Path) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def _syntax(path: Path) -> str:
    return _canonical(_parse(path))


def _canonical(node: object) -> str:
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    body = fields.get("body")
    if isinstance(body, list):
        fields["body"] = [statement for statement in body if not _is_bare_string(statement)]
    kept = (f"{name}={_canonical(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({','.join(kept)})"


def _is_bare_string(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)
