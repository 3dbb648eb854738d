"""What holds for every file that ships: its size, its first sentence, and the environment."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.test_layers import FILES, ROOT, imported

USERS_FILES = {"main", "data_models", "nlp_models", "orm_models", "vector_db", "web_demo"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 40
SHIPPED = [*FILES, *(ROOT / "migrations").rglob("*.py"), *(ROOT / "sample_data").rglob("*.py")]


def relative_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_files_that_the_user_named_are_at_the_root() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == USERS_FILES


@pytest.mark.parametrize("path", SHIPPED, ids=relative_name)
def test_a_file_is_short_and_says_what_it_owns(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(ast.parse(text)), "a module begins with a docstring"


@pytest.mark.parametrize("path", SHIPPED, ids=relative_name)
def test_a_function_is_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=relative_name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    taken = attributes | {name.removeprefix("os.") for name in imported(path)}
    reads = taken & {"environ", "environb", "getenv", "getenvb", "putenv"}
    # Two set a variable: prometheus_client takes its folder from nowhere else, and ONNX Runtime
    # takes it from nowhere else that nobody is to be told what it does.
    setters = ("product_search/telemetry.py", "product_search/__init__.py")
    allowed = ("product_search/settings.py", *setters, "benchmarks/")
    assert not reads or relative_name(path).startswith(allowed)
