"""The repository's own files, as the rules below see them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHERS = {"migrations", "files"}
PACKAGES = ("hotswap", "functions", "runners", "runtimes")


@cache
def modules() -> tuple[Path, ...]:
    """Every Python module of the product; migrations and the users' starter code left out."""
    found = (path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")))
    return tuple(path for path in found if not OTHERS & set(path.parts))


@cache
def tree(path: Path) -> ast.Module:
    """The module, parsed once."""
    return ast.parse(path.read_text(), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module, nested ones too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name(path: Path) -> str:
    """How a file is called in messages."""
    return str(path.relative_to(ROOT))
