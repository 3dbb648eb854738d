"""What each door writes to stderr, in a process of its own: pytest has handlers on the root."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from product_search.bootstrap import logs
from product_search.settings import ROOT


def written(door: str) -> list[str]:
    code = f"""
import logging
from product_search.bootstrap import logs
logs.configure({door!r})
logs.configure({door!r})
logging.getLogger("product_search.a").info("ours")
logging.getLogger("vector_db").info("a room's")
logging.getLogger("alembic.runtime").info("a step of a migration")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("door", "lines"),
    [
        ("service", ["INFO:     product_search.a ours"]),
        (
            "worker",
            [
                "INFO product_search.a ours",
                "INFO vector_db a room's",
                "INFO alembic.runtime a step of a migration",
            ],
        ),
        ("manage", ["INFO ours", "INFO a room's"]),
    ],
)
def test_each_door_has_its_lines(door: str, lines: list[str]) -> None:
    assert written(door) == lines


def test_handlers_of_others_are_left_alone() -> None:
    before = logging.getLogger().handlers[:]
    logs.configure("manage")
    assert logging.getLogger().handlers == before
