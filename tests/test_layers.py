"""A unit imports only from the layers below its own: layers.toml has the order."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = tomllib.loads(Path(__file__).with_name("layers.toml").read_text("utf-8"))
LEVEL = {unit: -n for n, line in enumerate(CONTRACT["layers"]) for unit in line.split()}
ONLY, OWNERS = CONTRACT["only"], CONTRACT["owners"]
FOLDERS = ("product_search", "pages", "benchmarks")
FILES = [*ROOT.glob("*.py"), *(one for top in FOLDERS for one in (ROOT / top).rglob("*.py"))]


def unit_of(module: str) -> str:
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "product_search" else first


def imported(path: Path) -> Iterator[str]:
    """The dotted names that the file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_unit_imports_only_what_lies_below_it(path: Path) -> None:
    mine = unit_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if mine == "__init__":
        return
    for theirs in {unit_of(name) for name in imported(path)} - {mine}:
        if theirs in OWNERS and mine != "benchmarks":
            assert mine in OWNERS[theirs].split(), f"{mine} imports {theirs}"
        if theirs in LEVEL:
            assert LEVEL[theirs] < LEVEL[mine], f"{theirs} does not lie below {mine}"
            assert theirs in ONLY.get(mine, theirs).split(), f"{mine} imports {theirs}"
