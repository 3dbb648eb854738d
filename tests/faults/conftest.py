"""Places for the faults, with encoders so small that a restart is quick; the table at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.conftest import mysql_url
from tests.faults.places import Embedded, Networked, Place, TwoServices
from tests.faults.tables import lines
from tests.unit.checkpoints import write_bge, write_clip

SEED = int(os.environ.get("PRODUCT_SEARCH_TEST_SEED", "1"))


@pytest.fixture(scope="session")
def small_encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings that name checkpoints of the real classes, of a few kilobytes."""
    folder = tmp_path_factory.mktemp("encoders")
    clip, bge = write_clip(folder / "clip"), write_bge(folder / "bge")
    return {"clip_dir": clip, "bge_dir": bge, "index_batch_size": 32}


@pytest.fixture(scope="module", params=["embedded", "network"])
def place(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    small_encoders: dict[str, Any],
) -> Iterator[Place]:
    """SQLite with Milvus Lite, or MariaDB with a networked Milvus; `two services` on the latter."""
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "_"))
    made: Place
    if request.param == "embedded":
        made = Embedded(folder, small_encoders)
    else:
        kind = TwoServices if request.param == "two services" else Networked
        made = kind(folder, small_encoders, mysql_url())
    yield made
    made.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the faults came to, whatever the verbosity."""
    for line in lines():
        terminalreporter.write_line(line)
