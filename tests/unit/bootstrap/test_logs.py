"""What each door writes to stderr, in a process of its own: pytest has handlers on the root."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from product_search.bootstrap import logs
from product_search.settings import ROOT

LOGGED = """
log.info("ours")
logging.getLogger("vector_db").info("a room's")
logging.getLogger("alembic.runtime").info("a step of a migration")
"""


def written(door: str, code: str = LOGGED) -> list[str]:
    """The lines that the code writes; `log` is a logger of the project."""
    begun = f"""
import logging
from product_search.bootstrap import logs
logs.configure({door!r})
logs.configure({door!r})
log = logging.getLogger("product_search.a")
"""
    command = [sys.executable, "-c", begun + code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert done.stdout == b""
    return done.stderr.decode().removesuffix("\n").split("\n")


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


FORGED = "a\nINFO:     product_search.a forged\r\x1b[2K\u2028\x85\u202e"
SHOWN = r"a\nINFO:     product_search.a forged\r\x1b[2K\u2028\x85\u202e"


@pytest.mark.parametrize("door", ["service", "worker", "manage"])
@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("info('of %s', told)", f"of {SHOWN}"),
        ("info('of %(title)s', {'title': told})", f"of {SHOWN}"),
        ("info('%d of %s', 3, Path(told))", f"3 of {SHOWN}"),
        ("info('%r', [told])", f"['{SHOWN}']"),
        ("warning('%s', ValueError(told))", SHOWN),
    ],
)
def test_nothing_that_is_told_begins_a_line(door: str, call: str, shown: str) -> None:
    (line,) = written(door, f"from pathlib import Path; told = {FORGED!r}; log.{call}")
    assert line.endswith(f" {shown}")


@pytest.mark.parametrize("logger", ["product_search.a", "uvicorn.error"])
def test_a_traceback_is_indented_whoever_logs_it(logger: str) -> None:
    code = f"""
import logging.config, uvicorn.config
logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
try:
    raise ValueError({FORGED!r})
except ValueError:
    logging.getLogger({logger!r}).exception("it failed")
"""
    first, *others = written("service", code)
    assert first.startswith("ERROR:")
    assert first.endswith("it failed")
    assert all(line.startswith("    ") for line in others)
    assert others[-1].endswith(r"forged\r\x1b[2K\u2028\x85\u202e")


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    """The logger of the service, without handlers, as it is restored afterwards."""
    logger = logging.getLogger("product_search")
    before = logger.handlers[:], logger.level
    logger.handlers.clear()
    yield logger
    logger.handlers, logger.level = before


def test_handlers_of_others_are_left_alone() -> None:
    before = logging.getLogger().handlers[:]
    logs.configure("manage")
    assert logging.getLogger().handlers == before


def test_a_migration_is_silent_in_commands_whoever_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    alembic = logging.getLogger("alembic")
    monkeypatch.setattr(alembic, "level", logging.INFO)
    assert logging.getLogger().handlers  # pytest's
    logs.configure("manage")
    assert alembic.level == logging.WARNING


def test_the_service_leaves_the_operators_log_as_it_is(
    ours: logging.Logger, tmp_path: Path
) -> None:
    file = logging.FileHandler(tmp_path / "service.log")
    root, child = logging.getLogger(), logging.getLogger("product_search.indexing.indexer")
    root.addHandler(file)
    child.setLevel(logging.ERROR)
    try:
        logs.configure("service")
        assert file.stream is not None
        assert child.level == logging.ERROR
        assert len(ours.handlers) == 1
        root.warning("still here")
    finally:
        root.removeHandler(file)
        file.close()
        child.setLevel(logging.NOTSET)
    assert (tmp_path / "service.log").read_text("utf-8") == "still here\n"
