"""Cells of the CSV files that visitors download, which a spreadsheet opens."""

from __future__ import annotations

import re

# What makes a formula of a cell in Excel, LibreOffice Calc or Google Sheets, its full-width forms,
# and these behind quotes and blanks, which some programs take away.
_FORMULA = re.compile(r"[\s\"'\0]*[=+\-@＝＋－＠]|[\t\r\n\0]")


def as_text(cell: str) -> str:
    """Return the cell as a spreadsheet takes it for text: behind an apostrophe where need be.

    So OWASP has it (CSV injection; ASVS 1.2.10). Spreadsheets hide the apostrophe or show it;
    other programs see it as a part of the cell.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell
