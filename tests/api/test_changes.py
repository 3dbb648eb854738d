"""The log of changes over HTTP and by the client, as the service and a command write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from data_models import ChangesQuery
from main import create_app
from product_search.cli import manage
from product_search.client import ApiClient
from product_search.settings import Settings
from tests.api.helpers import code_of, create, resources
from tests.api.serving import serving
from tests.clock import until


def changes(api: TestClient, **query: Any) -> list[dict[str, Any]]:
    answer = api.get("/system/changes", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_requests_are_recorded_with_their_ids(api: TestClient) -> None:
    assert changes(api) == []
    api.headers["X-Request-ID"] = "a-1"
    product_id = create(api)["product_id"]
    path = f"/product/{product_id}"
    assert api.patch(path, json={"price": 9.9, "brand": "拾光"}).status_code == 200
    assert api.patch(path, json={"price": -1}).status_code == 422
    del api.headers["X-Request-ID"]
    answer = api.delete(path)
    deleted, updated, created = changes(api, product_id=product_id)
    assert [one["operation"] for one in (created, updated, deleted)] == [
        "product_created",
        "product_updated",
        "product_deleted",
    ]
    assert created["request_id"] == updated["request_id"] == "a-1"
    assert deleted["request_id"] == answer.headers["X-Request-ID"]
    assert updated["detail"] == {"fields": ["brand", "price"]}
    assert {one["principal"] for one in (created, updated, deleted)} == {"anonymous"}
    assert {one["key_id"] for one in (created, updated, deleted)} == {None}


def test_an_import_is_two_records_however_many_rows_it_has(api: TestClient) -> None:
    rows = "sku,title\n" + "".join(f"S{n},书包\n" for n in range(20))
    sent = {"file": ("a.csv", rows.encode(), "text/csv")}
    accepted = api.post("/product/import", files=sent, headers={"X-Request-ID": "b-2"})
    assert accepted.status_code == 202, accepted.text
    until(lambda: changes(api, operation="import_finished"), "the end of the import")
    (started,) = changes(api, operation="import_started")
    (finished,) = changes(api, operation="import_finished")
    assert started["detail"] == {"file": "a.csv"}
    assert (finished["count"], finished["detail"]["created"]) == (20, 20)
    assert finished["request_id"] == started["request_id"] == "b-2"
    assert changes(api, operation="product_created", since=started["at"]) == []


@pytest.mark.parametrize(
    "query", ["operation=none", "product_id=0", "since=2026-01-01", "limit=101", "after=-1", "x=1"]
)
def test_a_wrong_query_is_refused(api: TestClient, query: str) -> None:
    assert code_of(api.get(f"/system/changes?{query}")) == (422, "invalid_request")


@pytest.fixture
def settings(
    open_settings: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    """Settings as a command reads them too."""
    chosen = open_settings()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(chosen.data_dir))
    return chosen


@pytest.fixture
def service(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def test_a_command_is_recorded_by_its_user_beside_a_service(service: TestClient) -> None:
    resources(service).run_executor.stop()
    imports = resources(service).imports
    with closing(imports.new_upload()) as upload:
        upload.stream.write(b"sku,title\n")
        import_id = imports.enqueue(upload, "a.csv")
    assert manage.main(["import", "--cancel", str(import_id)]) == 0
    (cancelled,) = changes(service, operation="import_cancelled")
    assert cancelled["principal"].startswith("command:")
    assert (cancelled["subject_id"], cancelled["request_id"]) == (str(import_id), None)


def test_a_service_drops_what_is_older_than_it_keeps(settings: Settings) -> None:
    with TestClient(create_app(settings)) as api:
        made = [create(api)["product_id"] for _ in range(4)]
    few = settings.model_copy(update={"changes_kept": 2})
    with TestClient(create_app(few)) as api:
        until(lambda: len(changes(api)) == 2, "the end of old records")
        assert [one["subject_id"] for one in changes(api)] == [str(made[3]), str(made[2])]


def test_the_client_reads_the_log(settings: Settings) -> None:
    with serving(create_app(settings)) as port:
        client = ApiClient(f"http://127.0.0.1:{port}")
        made = [client.create_product({"title": "书包"}, None).product_id for _ in range(3)]
        page = client.list_changes(ChangesQuery(limit=2))
        rest = client.list_changes(ChangesQuery(limit=2, after=page.next_after or 0))
        query = ChangesQuery(product_id=made[1], since=rest.items[0].at)
        (one,) = client.list_changes(query).items
        client.close()
    assert [one.subject_id for one in page.items] == [str(made[2]), str(made[1])]
    assert [one.subject_id for one in rest.items] == [str(made[0])]
    assert rest.next_after is None
    assert one.subject_id == str(made[1])
