"""The tests' own processes."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tests.servers import forked


def test_forked_processes_find_everything_imported(tmp_path: Path) -> None:
    """Else each would import it by itself: slow, and no other test would fail for it."""
    found = tmp_path / "found"
    process = forked(["manage", "--help"], tmp_path, {}, tmp_path / "log", partial(note, found))
    process.join(60)
    assert found.read_text("utf-8") == "True"


def note(found: Path) -> None:
    """Whether the process was forked from one that had imported everything."""
    found.write_text(str("tests.preloaded" in sys.modules), "utf-8")
