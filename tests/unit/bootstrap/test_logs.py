"""What each door writes to stderr, in a process of its own: pytest has handlers on the root."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from product_search.bootstrap import logs
from product_search.settings import ROOT

LOGGED = """
log.info("ours")
logging.getLogger("vector_db").info("a room's")
logging.getLogger("alembic.runtime").info("a step of a migration")
"""


def written(door: str, code: str = LOGGED, log_format: str = "console") -> list[str]:
    """The lines that the code writes; `log` is a logger of the project."""
    begun = f"""
import logging
from product_search.bootstrap import logs
logs.configure({door!r})
logs.configure({door!r}, {log_format!r})
log = logging.getLogger("product_search.a")
"""
    command = [sys.executable, "-c", begun + code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert done.stdout == b""
    return done.stderr.decode().removesuffix("\n").split("\n")


def as_json(door: str, code: str = LOGGED) -> list[dict[str, Any]]:
    """The same as JSON: each line is an object by itself."""
    return [json.loads(line) for line in written(door, code, "json")]


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


@pytest.mark.parametrize("door", ["service", "worker", "manage"])
def test_each_door_writes_json_where_it_is_told_to(door: str) -> None:
    first = as_json(door)[0]
    moment = datetime.fromisoformat(first.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert first == {"level": "info", "logger": "product_search.a", "event": "ours"}


ALIKE = """
import logging.config, uvicorn.config, warnings
logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
logs.configure("service", "json")
logging.getLogger("sqlalchemy.pool").warning("a connection of %s", "the pool")
logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
warnings.warn("old")
log.info("ours", extra={"product_id": 7, "title": "书包"})
"""


def test_lines_of_libraries_are_json_like_ours() -> None:
    pool, server, warning, ours = as_json("service", ALIKE)
    assert [one.pop("level") for one in (pool, server, ours)] == ["warning", "info", "info"]
    for one in (pool, server, ours):
        del one["time"]
    assert pool == {"logger": "sqlalchemy.pool", "event": "a connection of the pool"}
    assert server == {"logger": "uvicorn.error", "event": "Started server process [7]"}
    assert "UserWarning: old" in warning["event"]
    named = {"logger": "product_search.a", "event": "ours"}
    assert ours == named | {"product_id": 7, "title": "书包"}


WITHIN = """
from product_search.context import Principal, Scope, acting_as, within_request
with within_request("abc-1"), acting_as(Principal("店铺后台", Scope.write, "Zk3")):
    log.info("ours")
"""


def test_a_line_names_its_request_and_its_key() -> None:
    (line,) = as_json("service", WITHIN)
    assert (line["request_id"], line["key"]) == ("abc-1", "店铺后台")
    assert written("service", WITHIN) == ["INFO:     product_search.a ours [abc-1]"]


KEY = "psk_Zk3v9Q_" + "s3cret" * 7
TOLD = [
    f"log.info({KEY!r})",
    f"log.info('of %s', {KEY.replace('psk', 'pspk')!r})",
    "log.info('%r', {'authorization': 'Bearer s3cret.s3cret'})",
    "log.warning('%s', ValueError('mysql://shop:s3cret@db/shop'))",
    "log.info('ours', extra={'api_key': 's3cret', 'header': 'Basic czNjcmV0OnMzY3JldA=='})",
    f"""
try:
    raise ValueError({KEY!r})
except ValueError:
    log.exception("it failed")
""",
]


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize("code", TOLD)
def test_no_secret_is_written(code: str, log_format: str) -> None:
    lines = written("worker", code, log_format)
    assert lines
    assert "s3cret" not in "".join(lines)
    assert "czNjcmV0" not in "".join(lines)


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


CALLS = [
    ("info('of %s', told)", f"of {SHOWN}"),
    ("info('%d of %s', 3, Path(told))", f"3 of {SHOWN}"),
    ("info('ours', extra={'title': told})", "ours"),
    ("info(told)", SHOWN.replace(r"a\n", "a\n    ", 1)),
]


@pytest.mark.parametrize(("call", "event"), CALLS)
def test_json_is_one_line_in_which_all_can_be_seen(call: str, event: str) -> None:
    code = f"from pathlib import Path; told = {FORGED!r}; log.{call}"
    (line,) = written("service", code, "json")
    assert not set(line) & set("\r\x1b\x85\u2028\u202e")
    told = json.loads(line)
    assert told["event"] == event
    assert told.get("title", SHOWN) == SHOWN


@pytest.mark.parametrize("logger", ["product_search.a", "uvicorn.error"])
def test_a_traceback_is_a_field_of_its_line(logger: str) -> None:
    code = f"""
import logging.config, uvicorn.config
logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
logs.configure("service", "json")
try:
    raise ValueError({FORGED!r})
except ValueError:
    logging.getLogger({logger!r}).exception("it failed")
"""
    (line,) = as_json("service", code)
    assert line["event"] == "it failed"
    first, *others = line["exception"].split("\n")
    assert first == "    Traceback (most recent call last):"
    assert all(one.startswith("    ") for one in others)
    assert others[-1].endswith(r"forged\r\x1b[2K\u2028\x85\u202e")


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
