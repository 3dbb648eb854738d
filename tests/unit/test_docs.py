"""What the documents name is there: files, folders, and modules that are run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_layers import ROOT

DOCUMENTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("models/*.md"),
    *ROOT.glob("sample_data/*.md"),
    ROOT / ".env.example",
    ROOT / "tests" / "layers.toml",
]
TOPS = "benchmarks|deploy|docs|migrations|models|pages|product_search|sample_data|tests"
PATH = re.compile(rf"(?<![\w./-])((?:{TOPS})/[\w./-]*\w/?)(?![\w<*…])")
AT_THE_ROOT = re.compile(r"`(\w+\.(?:py|md|toml|txt))`")
# In a diagram's participants product_search/ goes without saying.
PARTICIPANT = re.compile(r"participant \w+ as (\w+/[\w/.]*)")
MODULE = re.compile(r"python -m ((?:benchmarks|product_search)[\w.]*)")
MEMBER = re.compile(r"`(\w+)\.(\w+)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def named(text: str) -> set[str]:
    modules = {name.replace(".", "/") for name in MODULE.findall(text)}
    within = {f"product_search/{name}" for name in PARTICIPANT.findall(text)}
    return {*PATH.findall(text), *AT_THE_ROOT.findall(text), *modules, *within}


def exists(path: str, document: Path) -> bool:
    folders = (ROOT, document.parent)
    return any((folder / name).exists() for folder in folders for name in (path, f"{path}.py"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    assert [path for path in sorted(named(text)) if not exists(path, document)] == []
    members = [(ROOT / f"{module}.py", name) for module, name in MEMBER.findall(text)]
    within = [(path, name) for path, name in members if path.is_file() and name != "py"]
    assert [name for path, name in within if name not in path.read_text("utf-8")] == []
    links = LINK.findall(text)
    assert [link for link in links if not (document.parent / link).exists()] == []
