"""The pages' two languages: every text has its English, and none is shown in Chinese alone."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po

from product_search.demo.language import DOMAIN, LOCALES
from product_search.settings import ROOT

CATALOG = LOCALES / "en" / "LC_MESSAGES" / f"{DOMAIN}.po"
HAN = re.compile("[\u3400-\u9fff]")
NAMES = re.compile(r"{(\w*)}")
# What is the same in both languages, by intent: queries to try, names of languages and of columns.
SAME = {"EXAMPLE_QUERIES", "LANGUAGES", "LABEL", "ALIASES"}


def page_files() -> list[Path]:
    return sorted(
        [
            ROOT / "web_demo.py",
            *ROOT.glob("pages/*.py"),
            *ROOT.glob("product_search/demo/**/*.py"),
        ]
    )


FILES = page_files()


@pytest.fixture(scope="module")
def english() -> Catalog:
    with CATALOG.open("rb") as stream:
        return read_po(stream, locale="en", abort_invalid=True)


def extracted() -> set[str]:
    """What the code marks for translation, f-strings looked into."""
    trees = [ast.parse(path.read_text("utf-8")) for path in FILES]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    given = [
        str(argument.value)
        for call in calls
        if getattr(call.func, "id", "") in ("_", "N_")
        for argument in call.args
        if isinstance(argument, ast.Constant)
    ]
    return set(given)


def test_every_text_has_its_english_and_no_english_is_left_over(english: Catalog) -> None:
    known = messages(english)
    marked = extracted()
    assert sorted(marked - known.keys()) == []
    assert sorted(known.keys() - marked) == []
    assert [text for text, said in known.items() if not said] == []
    assert [text for text, said in known.items() if HAN.search(said)] == []


def test_the_english_has_the_same_values_to_be_put_in(english: Catalog) -> None:
    wrong = [
        message.id
        for message in english
        if sorted(NAMES.findall(str(message.id))) != sorted(NAMES.findall(str(message.string)))
    ]
    assert wrong == []


def test_the_compiled_catalog_is_up_to_date(english: Catalog) -> None:
    fresh = io.BytesIO()
    write_mo(fresh, english)
    fresh.seek(0)
    with CATALOG.with_suffix(".mo").open("rb") as stream:
        assert messages(read_mo(stream)) == messages(read_mo(fresh)), "run `make translations`"


def messages(catalog: Catalog) -> dict[str, str]:
    return {str(message.id): str(message.string) for message in catalog if message.id}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_is_shown_in_chinese_alone(path: Path) -> None:
    assert list(unmarked(ast.parse(path.read_text("utf-8")))) == []


def unmarked(tree: ast.AST) -> Iterator[str]:
    """The Chinese texts that neither `_` nor `N_` has; documentation is none."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "N_"):
            continue
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in SAME:
            continue
        if isinstance(node, ast.Constant) and HAN.search(str(node.value)):
            yield str(node.value)
        yield from unmarked(node)
