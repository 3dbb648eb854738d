"""`manage doctor` from its command line: with the stores to itself, and beside a service."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.bootstrap import encoders
from product_search.bootstrap.stores import open_database
from product_search.cli import manage
from product_search.drift import reports
from product_search.milvus.milvus_lite import FileLock
from product_search.runs import exclusive
from product_search.runs.executor import LEASE
from product_search.runs.queue import RunKind
from product_search.settings import Settings
from tests.api.helpers import create, resources
from tests.api.test_manage_import import settings as settings


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The JSON on standard output, which holds nothing else."""
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def drifted(settings: Settings) -> None:
    """A catalog of two products, one of which Milvus has lost."""
    with TestClient(create_app(settings)) as api:
        lost = create(api, wait=True)
        create(api, wait=True, title="伞")
        resources(api).entities.delete([int(lost["milvus_id"])])


def test_without_a_service_the_command_walks_by_itself_and_loads_no_encoder(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    drifted(settings)
    monkeypatch.delattr(encoders, "open_encoders")
    assert manage.main(["doctor"]) == 1
    assert "缺少向量（missing）：1" in caplog.text
    assert manage.main(["doctor", "--json"]) == 1
    document = printed(capsys)
    assert (document["found"]["missing"], document["left"]) == (1, 1)
    assert (document["products"], document["entities"]) == (2, 1)
    assert manage.main(["doctor", "--repair", "--json"]) == 0
    assert printed(capsys)["repaired"]["missing"] == 1
    assert manage.main(["doctor"]) == 0
    assert "没有不一致" in caplog.text


def test_what_it_queued_the_next_start_of_the_service_does(settings: Settings) -> None:
    drifted(settings)
    assert manage.main(["doctor", "--repair"]) == 0
    with TestClient(create_app(settings)) as api:
        create(api, wait=True)
        assert resources(api).entities.count() == 3


def test_an_empty_catalog_has_no_drift(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert manage.main(["doctor", "--json"]) == 0
    assert printed(capsys)["products"] == 0


def test_a_service_that_holds_the_file_walks_for_the_command(
    settings: Settings, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    drifted(settings)
    with TestClient(create_app(settings)) as api:
        assert manage.main(["doctor", "--json"]) == 1
        assert printed(capsys)["found"]["missing"] == 1
        assert settings.api_url in caplog.text
        assert manage.main(["doctor", "--repair"]) == 0
        create(api, wait=True)
        assert resources(api).entities.count() == 3
        assert manage.main(["doctor", "--drop", "product_v1_000000000000"]) == 2
        assert "product_v1_000000000000" in caplog.text
        assert capsys.readouterr().out == ""


def test_a_walk_that_another_process_carries_out_is_not_disturbed(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    drifted(settings)
    with open_database(settings) as database:
        held = exclusive.start(database, RunKind.doctor, {}, LEASE)
        assert manage.main(["doctor"]) == 2
    assert f"编号 {held.id}" in caplog.text


def test_a_holder_of_the_file_that_goes_away_is_exit_code_2(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    drifted(settings)
    lock = FileLock(settings.milvus_path)
    lock.acquire("http://somewhere")

    def leave_once_asked() -> None:
        with open_database(settings) as database:
            while database.read(reports.fetch_report).newest is None:
                pass
        lock.release()

    leaving = threading.Thread(target=leave_once_asked)
    leaving.start()
    assert manage.main(["doctor"]) == 2
    leaving.join()
    assert "服务已停止" in caplog.text
