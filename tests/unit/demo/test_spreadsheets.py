"""Cells that a spreadsheet would take for formulas, in what visitors download."""

from __future__ import annotations

import pytest

from product_search.demo.spreadsheets import as_text

COMMAND = "cmd|' /C calc'!A0"


@pytest.mark.parametrize("mark", [*"=+-@＝＋－＠", "\t", "\r", "\n", "\0"])
@pytest.mark.parametrize("before", ["", "'", '"', "\"'", " ", "\u3000", "\xa0", ' " '])
def test_what_may_be_a_formula_stands_behind_an_apostrophe(before: str, mark: str) -> None:
    cell = f"{before}{mark}{COMMAND}"
    assert as_text(cell) == (f"'{cell}" if before == "" or mark in "=+-@＝＋－＠" else cell)


@pytest.mark.parametrize("cell", ["", "price：应为数", "a=1", "'70 年代", '"引号"', "3-4 岁", " x"])
def test_other_cells_are_as_they_are(cell: str) -> None:
    assert as_text(cell) == cell
