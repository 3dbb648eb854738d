"""The lines of the log as JSON has them, for tests that ask what they tell."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from product_search.bootstrap.logs import json_formatter


class _Kept(logging.Handler):
    """A handler that keeps what it would write."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(json_formatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, in the thread that logs it."""
        self.lines.append(json.loads(self.format(record)))


@contextmanager
def kept_lines() -> Iterator[list[dict[str, Any]]]:
    """All lines that are logged inside the block, by whichever thread."""
    handler, root = _Kept(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)
