"""Drift and its repair over HTTP, its line in /health, the list of runs, and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from product_search.runs import exclusive, queue
from product_search.runs.executor import LEASE
from product_search.runs.queue import RunKind, RunState
from tests.api.exclusive_runs import run_to_end
from tests.api.helpers import code_of, create, resources
from tests.clock import until
from tests.unit.pictures import age, file_of


def report(api: TestClient) -> dict[str, Any]:
    answer = api.get("/system/drift")
    assert answer.status_code == 200, answer.text
    return cast(dict[str, Any], answer.json())


def walked(api: TestClient, path: str) -> dict[str, Any]:
    """What a walk found that this path starts."""
    return cast(dict[str, Any], run_to_end(api, path, shown_at="/system/drift")["last"])


def sample(api: TestClient, name: str) -> float | None:
    """The value of a metric."""
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    values = [line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")]
    found = {key: float(value) for key, value in values}
    return found.get(f"product_search_{name}")


def test_where_keys_are_off_everybody_may_do_all(api: TestClient) -> None:
    caller = {"name": "anonymous", "scope": "admin", "key_id": None}
    assert api.get("/system/me").json() == caller


def test_before_the_first_walk_nothing_is_claimed(api: TestClient) -> None:
    assert report(api) == {"last": None, "newest": None}
    assert api.get("/health").json()["drift"] is None
    assert sample(api, 'drift{kind="missing"}') is None
    assert sample(api, "drift_checked_timestamp_seconds") == 0
    assert sample(api, "outbox_pending") == 0


def test_drift_is_told_everywhere_and_gone_after_the_repair(api: TestClient) -> None:
    product = create(api, wait=True)
    resources(api).entities.delete([int(product["milvus_id"])])
    found = walked(api, "/system/drift")
    assert (found["found"]["missing"], found["left"], found["repair"]) == (1, 1, False)
    assert found["examples"][0]["subject"] == str(product["product_id"])
    health = api.get("/health").json()
    assert (health["status"], health["drift"]["total"]) == ("degraded", 1)
    assert health["drift"]["at"] == found["finished_at"]
    assert sample(api, 'drift{kind="missing"}') == 1
    assert sample(api, 'drift{kind="orphaned"}') == 0
    repaired = walked(api, "/system/repair")
    assert (repaired["repaired"]["missing"], repaired["left"], repaired["repair"]) == (1, 0, True)
    assert report(api)["newest"]["state"] == "done"
    until(lambda: resources(api).entities.count() == 1, "the repair")
    until(lambda: sample(api, "outbox_pending") == 0, "the end of the repair")
    assert sample(api, 'drift{kind="missing"}') == 0
    health = api.get("/health").json()
    assert (health["status"], health["drift"]["total"]) == ("ok", 0)


def test_an_image_that_nobody_names_leaves_the_service_healthy(
    api: TestClient, png: Callable[..., bytes]
) -> None:
    images = resources(api).images
    age(file_of(images, images.save(png("green"))))
    found = walked(api, "/system/drift")
    assert (found["found"]["orphaned_picture"], found["left"]) == (1, 1)
    health = api.get("/health").json()
    assert (health["status"], health["drift"]["total"]) == ("ok", 1)


@pytest.mark.parametrize("path", ["/system/drift", "/system/repair"])
def test_while_a_walk_has_not_ended_another_is_refused(api: TestClient, path: str) -> None:
    database = resources(api).database
    held = exclusive.start(database, RunKind.doctor, {}, LEASE)
    assert code_of(api.post(path)) == (409, "run_in_progress")
    assert report(api)["newest"] == {
        "run_id": held.id,
        "state": "running",
        "repair": False,
        "error": None,
    }
    database.write(queue.finish, held, RunState.failed, "断电")
    assert report(api)["newest"]["error"] == "断电"
    walked(api, path)


def test_the_list_of_runs_has_walks_and_imports_with_their_counts(api: TestClient) -> None:
    before = api.get("/system/runs").json()["items"]
    known = {run["run_id"] for run in before}
    repaired = walked(api, "/system/repair")
    table = ("products.csv", "sku,title\nA,书包\nB,\n")
    import_id = api.post("/product/import", files={"file": table}).json()["import_id"]

    def newest() -> list[dict[str, Any]]:
        answer = api.get("/system/runs", params={"limit": 2})
        assert answer.status_code == 200, answer.text
        return cast(list[dict[str, Any]], answer.json()["items"])

    until(lambda: newest()[0]["state"] == "done", "the end of the import")
    ours, walk = newest()
    assert (ours["run_id"], ours["kind"], ours["subject"]) == (import_id, "import", "products.csv")
    assert (ours["done"], ours["total"], ours["error"]) == (2, 2, None)
    assert (walk["run_id"], walk["kind"], walk["subject"]) == (
        repaired["run_id"],
        "doctor",
        "repair",
    )
    assert walk["done"] == repaired["products"]
    assert walk["finished_at"] == repaired["finished_at"]
    rest = api.get("/system/runs", params={"after": walk["run_id"], "limit": 100}).json()
    assert {run["run_id"] for run in rest["items"]} == known
    assert rest["next_after"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=-1", "page=2"])
def test_a_list_of_runs_asked_for_wrongly_is_refused(api: TestClient, query: str) -> None:
    assert code_of(api.get(f"/system/runs?{query}")) == (422, "invalid_request")
