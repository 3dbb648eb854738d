"""Imports that wait: how many may, how they are cancelled, and what a full disk makes of them."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.bulk.tables import Bounds
from product_search.cli import manage
from product_search.errors import OutboxFull
from product_search.runs import queue
from product_search.runs.queue import RunKind
from product_search.settings import Settings
from tests.api.helpers import Answer, code_of, form, listed, resources
from tests.api.serving import serving
from tests.clock import until
from tests.sessions import writing
from tests.zips import zipped

MAX_BYTES = 100_000
CSV = "sku,title\nA,书包\nB,雨伞\n"
ROWS = 60


@pytest.fixture
def settings(open_settings: Callable[[], Settings]) -> Settings:
    """Small uploads only, and an outbox that is soon full."""
    small = {"import_max_bytes": MAX_BYTES, "outbox_max_depth": 10}
    return open_settings().model_copy(update=small)


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    """A service that carries out no imports, so that they wait."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        resources(client).run_executor.stop()
        yield client


def send(api: TestClient, content: str | bytes = CSV, name: str = "a.csv") -> Answer:
    return api.post("/product/import", files={"file": (name, content)})


def sent(api: TestClient, content: str | bytes = CSV) -> int:
    answer = send(api, content)
    assert answer.status_code == 202, answer.content
    return int(answer.json()["import_id"])


def status(api: TestClient, import_id: int) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/product/import/{import_id}").json()
    return found


def cancel(api: TestClient, import_id: int) -> Answer:
    return api.delete(f"/product/import/{import_id}")


def files(api: TestClient) -> list[Path]:
    folder = resources(api).settings.imports_dir
    return list(folder.iterdir()) if folder.is_dir() else []


def assert_full(answer: Answer) -> None:
    assert code_of(answer) == (429, "queue_full")
    assert int(answer.headers["retry-after"]) > 0


def test_no_more_imports_wait_than_may_and_nothing_of_the_others_is_kept(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.bulk.uploads.MAX_KEPT", 2)
    first, _ = sent(api), sent(api)
    assert_full(send(api))
    assert len(files(api)) == 2
    assert cancel(api, first).status_code == 204
    sent(api)
    assert len(files(api)) == 2


def test_uploads_that_are_still_coming_in_count_too(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.bulk.uploads.MAX_KEPT", 1)
    coming = resources(api).imports.new_upload()
    assert_full(send(api))
    coming.close()
    sent(api)


def test_what_waits_takes_no_more_of_the_disk_than_it_may(api: TestClient) -> None:
    large = CSV + "C," + "书" * 30_000 + "\n"
    for _ in range(4):
        sent(api, large)
    assert_full(send(api, large))
    assert len(files(api)) == 4
    sent(api)


def test_a_client_that_sends_much_hears_that_the_queue_is_full(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.bulk.uploads.MAX_KEPT", 0)
    part = 'Content-Disposition: form-data; name="file"; filename="a.csv"'
    body = form("x", (part, bytes(30_000_000)))
    with (
        serving(create_app(settings)) as port,
        closing(HTTPConnection("127.0.0.1", port)) as client,
    ):
        client.request("POST", "/product/import", body["content"], body["headers"])
        answer = client.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (429, "queue_full")


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes: writing more is an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [4_700_000, 9_500_000])
def test_an_upload_that_the_disk_can_not_hold_is_told_and_leaves_nothing(
    open_settings: Callable[[], Settings], size: int
) -> None:
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as api:
        resources(api).run_executor.stop()
        with full_disk(4_500_000):
            answer = send(api, CSV + "\n" * size)
        assert code_of(answer) == (503, "storage_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert files(api) == []
        sent(api)


def test_a_small_zip_of_many_empty_lines_is_refused_at_once(
    open_settings: Callable[[], Settings],
) -> None:
    """What it unpacks to is within the bounds, its lines are not."""
    bomb = zipped(("a.csv", b"sku,title\n" + b"\n" * 25_000_000))
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as api:
        assert code_of(send(api, bomb, "a.zip")) == (413, "import_too_many_rows")
        assert files(api) == []


def test_a_table_of_too_many_rows_fails_before_one_of_them_is_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(create_app(settings)) as api:
        monkeypatch.setattr(resources(api).imports, "_bounds", Bounds(MAX_BYTES, rows=3))
        import_id = sent(api, CSV + "\nC,帽子\n")
        until(lambda: status(api, import_id)["state"] == "failed", "the end of the import")
        assert "最多 3 行" in status(api, import_id)["error"]
        assert listed(api)["total"] == 0
        assert files(api) == []


def test_an_import_that_waits_is_cancelled_at_once_and_never_begins(settings: Settings) -> None:
    with TestClient(create_app(settings)) as api:
        resources(api).run_executor.stop()
        import_id = sent(api)
        assert cancel(api, import_id).status_code == 204
        found = status(api, import_id)
        assert (found["state"], found["rows_done"], found["started_at"]) == ("cancelled", 0, None)
        assert found["finished_at"]
        assert files(api) == []
        assert cancel(api, import_id).status_code == 204
        assert status(api, import_id) == found
    with TestClient(create_app(settings)) as api:  # and so after a restart
        later = sent(api)
        until(lambda: status(api, later)["state"] == "done", "the end of the next import")
        assert status(api, import_id) == found


def test_an_import_that_has_ended_or_is_none_is_not_cancelled(settings: Settings) -> None:
    with TestClient(create_app(settings)) as api:
        import_id = sent(api)
        until(lambda: status(api, import_id)["state"] == "done", "the end of the import")
        before = status(api, import_id)
        assert code_of(cancel(api, import_id)) == (409, "import_finished")
        assert status(api, import_id) == before
        with writing(resources(api).database) as session:
            other = queue.enqueue(session, RunKind.doctor, {}).id
        for none in (999_999, other):
            assert code_of(cancel(api, none)) == (404, "import_not_found")
        assert code_of(cancel(api, 0)) == (422, "invalid_request")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two rows, and what waits looks up soon."""
    monkeypatch.setattr("product_search.bulk.importer.BATCH_SIZE", 2)
    monkeypatch.setattr("product_search.runs.executor.LEASE", timedelta(seconds=0.3))
    monkeypatch.setattr(OutboxFull, "retry_after_s", 0.05)


@pytest.mark.usefixtures("hasty")
def test_an_import_at_work_is_cancelled_keeps_what_it_wrote_and_lets_the_next_begin(
    settings: Settings,
) -> None:
    with TestClient(create_app(settings)) as api:
        resources(api).indexing_loop.stop()  # so that it waits for room, half done
        rows = "".join(f"S-{number},标题\n" for number in range(ROWS))
        import_id = sent(api, f"sku,title\n{rows}")
        until(lambda: status(api, import_id)["rows_done"] > 0, "the first batches")
        assert cancel(api, import_id).status_code == 204
        found = status(api, import_id)
        assert (found["state"], found["rows_total"]) == ("cancelled", ROWS)
        assert 0 < found["rows_done"] < ROWS
        assert files(api) == []
        later = sent(api)
        until(lambda: status(api, later)["state"] != "queued", "the next import's begin")
        assert status(api, import_id) == found
        written = [one["sku"] for one in listed(api, page_size=100)["items"]]
        assert sum(sku.startswith("S-") for sku in written) == found["created"]


@pytest.mark.usefixtures("hasty")
def test_the_command_cancels_what_the_service_is_at(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(settings.data_dir))
    with TestClient(create_app(settings)) as api:
        resources(api).indexing_loop.stop()
        rows = "".join(f"S-{number},标题\n" for number in range(ROWS))
        import_id = sent(api, f"sku,title\n{rows}")
        until(lambda: status(api, import_id)["rows_done"] > 0, "the first batches")
        assert manage.main(["import", "--cancel", str(import_id)]) == 0
        assert manage.main(["import", "--cancel", str(import_id)]) == 0
        assert status(api, import_id)["state"] == "cancelled"
        assert files(api) == []
        assert manage.main(["import", "--cancel", "999999"]) == 2


@pytest.mark.parametrize(
    "arguments", [["a.csv", "--cancel", "1"], ["--cancel", "0"], ["--cancel", "x"]]
)
def test_a_wrong_command_line_cancels_nothing(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert manage.main(["import", *arguments]) == 2
    assert "Usage" in capsys.readouterr().err
