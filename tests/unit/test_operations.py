"""The commands that the documents tell operators to run are there, with these options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from product_search.cli.manage import app
from product_search.settings import ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "README.zh.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMAND = re.compile(r"python -m product_search\.manage ([^\n`#>）]+)")
PROCEDURES = ("backup", "restore", "upgrade", "rollback", "re-encode", "keys", "drift")


def commands(path: Path) -> Iterator[list[str]]:
    """The words of each command, choices such as [--repair] and --status | --cancel opened."""
    for found in COMMAND.findall(path.read_text("utf-8")):
        words = re.sub(r"[\[\]|]", " ", found).split()
        yield shlex.split(" ".join(words), posix=False)


def unknown(words: list[str]) -> list[str]:
    """What of a command the program does not know: commands, then options."""
    command: Any = get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    given = [word.partition("=")[0].rstrip("，。：,.") for word in words if word.startswith("--")]
    return [option for option in given if option not in options | {"--help"}]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_a_document_exist(path: Path) -> None:
    assert {" ".join(words): unknown(words) for words in commands(path) if unknown(words)} == {}


def test_what_is_none_is_noticed() -> None:
    assert unknown(["export", "all.zip"]) == []
    assert unknown(["exprot", "all.zip"]) == ["exprot"]
    assert unknown(["doctor", "--repair", "--mend"]) == ["--mend"]


def test_every_procedure_is_told_with_its_commands() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    headings = " ".join(re.findall(r"^## (.+)$", text, re.MULTILINE)).lower()
    assert [name for name in PROCEDURES if name not in headings] == []
    told = {words[0] for words in commands(ROOT / "docs" / "operations.md")}
    assert {"migrate", "reindex", "doctor", "keys", "export", "import", "retry"} <= told
