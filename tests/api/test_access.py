"""Who is let in where keys are required, to do what, and what the others are told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from main import create_app
from product_search.access.keys import create_key, id_of, revoke_key
from product_search.access.scopes import PUBLISHABLE, SCOPES
from product_search.context import Scope, current_principal
from product_search.errors import DatabaseUnavailable
from product_search.settings import Settings
from tests.api.guarded import guarded_service, key_of, shown
from tests.api.helpers import base64_of, code_of, create, resources
from tests.clock import until
from tests.log_lines import kept_lines
from tests.unit.pictures import encoded, noise

SHOP = "https://shop.example"
UNKNOWN = f"psk_{'a' * 12}_{'b' * 43}"
OPERATIONS = {
    operation["operationId"]: (method, path)
    for path, operations in create_app().openapi()["paths"].items()
    for method, operation in operations.items()
}


@pytest.fixture(scope="module")
def guarded(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    with guarded_service(open_settings) as api:
        yield api


@pytest.fixture(scope="module")
def keys(guarded: TestClient) -> dict[Scope, str]:
    """A key of each scope."""
    return {scope: key_of(guarded, scope) for scope in Scope}


@pytest.fixture(scope="module")
def image_url(guarded: TestClient, keys: dict[Scope, str]) -> str:
    """The address of a product's picture, as an answer gives it."""
    photo = base64_of(encoded(noise((32, 32)), "PNG"))
    body = {"title": "书包", "image_base64": photo}
    made = guarded.post("/product", json=body, headers=shown(keys[Scope.write]))
    assert made.status_code == 201, made.text
    return str(made.json()["image_url"])


def ask(api: TestClient, operation: str, **options: Any) -> Any:
    method, path = OPERATIONS[operation]
    filled = path.replace("{number}", "1")
    for name in ("product_id", "import_id", "generation_id"):
        filled = filled.replace(f"{{{name}}}", "999")
    return api.request(method, filled, **options)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_a_key_only_what_is_public_is_answered(guarded: TestClient, operation: str) -> None:
    answer = ask(guarded, operation)
    if SCOPES[operation] is None:
        assert answer.status_code == 200
    else:
        assert code_of(answer) == (401, "key_required")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("scope", [Scope.read, Scope.write])
def test_a_key_of_less_scope_is_refused(
    guarded: TestClient, keys: dict[Scope, str], scope: Scope, operation: str
) -> None:
    needed = SCOPES[operation]
    if needed is not None and not scope.includes(needed):
        answer = ask(guarded, operation, headers=shown(keys[scope]))
        assert code_of(answer) == (403, "forbidden")


def test_each_scope_does_its_own(guarded: TestClient, keys: dict[Scope, str]) -> None:
    reading, writing, administering = (shown(keys[scope]) for scope in Scope)
    assert guarded.post("/search", json={"text": "书包"}, headers=reading).status_code == 200
    assert guarded.get("/metrics", headers=reading).status_code == 200
    made = guarded.post("/product", json={"title": "水杯"}, headers=writing)
    assert made.status_code == 201
    address = f"/product/{made.json()['product_id']}"
    assert guarded.get(address, headers=administering).status_code == 200
    assert guarded.delete(address, headers=administering).status_code == 204
    assert guarded.post("/system/drift", headers=administering).status_code == 202


def test_what_is_public_needs_no_key_and_minds_none(guarded: TestClient) -> None:
    for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert guarded.get(path).status_code == 200
        assert guarded.get(path, headers=shown(UNKNOWN)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "key_required"),
        ({"Authorization": ""}, "key_required"),
        ({"Authorization": "{key}"}, "key_required"),
        ({"Authorization": "Basic {key}"}, "key_required"),
        ({"X-API-Key": "{key}"}, "key_required"),
        ({"Cookie": "key={key}; Authorization=Bearer {key}"}, "key_required"),
        ({"Authorization": "Bearer"}, "key_invalid"),
        ({"Authorization": "Bearer {key}x"}, "key_invalid"),
        ({"Authorization": "Bearer {key} {key}"}, "key_invalid"),
        ({"Authorization": "Bearer {key},{key}"}, "key_invalid"),
        ({"Authorization": "Bearer ÿ{key}"}, "key_invalid"),
        ({"Authorization": f"Bearer {UNKNOWN}"}, "key_invalid"),
        ({"Authorization": f"Bearer {'psk_' * 5000}"}, "key_invalid"),
    ],
)
def test_a_key_is_taken_from_its_header_alone_and_whole(
    guarded: TestClient, keys: dict[Scope, str], headers: dict[str, str], code: str
) -> None:
    key = keys[Scope.admin]
    sent = [
        (name.encode(), value.replace("{key}", key).encode("latin-1"))
        for name, value in headers.items()
    ]
    answer = guarded.get("/product/list", headers=sent)
    assert code_of(answer) == (401, code)
    assert key not in answer.text


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "token", "signature"])
def test_a_key_in_an_address_is_none(
    guarded: TestClient, keys: dict[Scope, str], name: str
) -> None:
    answer = guarded.get("/product/list", params={name: keys[Scope.admin]})
    assert code_of(answer) == (401, "key_required")


def test_two_keys_in_one_request_are_none(guarded: TestClient, keys: dict[Scope, str]) -> None:
    twice = [("Authorization", f"Bearer {keys[scope]}") for scope in (Scope.read, Scope.admin)]
    assert code_of(guarded.get("/product/list", headers=twice)) == (401, "key_invalid")


def test_the_scheme_is_bearer_in_any_case(guarded: TestClient, keys: dict[Scope, str]) -> None:
    for scheme in ("bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {keys[Scope.read]}"}
        assert guarded.get("/product/list", headers=headers).status_code == 200


def test_a_new_key_is_good_at_once_and_a_revoked_one_ends_soon(guarded: TestClient) -> None:
    database = resources(guarded).database
    made = database.write(create_key, "店铺", Scope.read)
    assert guarded.get("/product/list", headers=shown(made.text)).status_code == 200
    database.write(revoke_key, made.key_id)

    def is_refused() -> bool:
        answer = guarded.get("/product/list", headers=shown(made.text))
        return answer.status_code == 401 and code_of(answer) == (401, "key_invalid")

    until(is_refused, "the end of a revoked key", 30.0)


def test_a_wrong_address_tells_nothing_to_whoever_has_no_key(
    guarded: TestClient, keys: dict[Scope, str]
) -> None:
    assert code_of(guarded.get("/admin")) == (401, "key_required")
    assert code_of(guarded.delete("/search")) == (401, "key_required")
    reading = shown(keys[Scope.read])
    assert code_of(guarded.get("/admin", headers=reading)) == (404, "not_found")
    assert code_of(guarded.delete("/search", headers=reading)) == (405, "method_not_allowed")


def test_a_publishable_key_is_its_pages_alone(guarded: TestClient) -> None:
    headers = shown(key_of(guarded, Scope.read, [SHOP]))
    page = headers | {"Origin": SHOP}
    assert guarded.get("/suggest", params={"q": "书"}, headers=page).status_code == 200
    assert guarded.post("/search", json={"text": "书包"}, headers=page).status_code == 200
    for other in ({}, {"Origin": "null"}, {"Origin": "https://evil.example"}):
        answer = guarded.get("/suggest", params={"q": "书"}, headers=headers | other)
        assert code_of(answer) == (403, "forbidden")
    for operation in set(OPERATIONS) - PUBLISHABLE:
        if SCOPES[operation] is not None:
            assert code_of(ask(guarded, operation, headers=page)) == (403, "forbidden")


@pytest.mark.parametrize("parted", [False, True], ids=["whole", "part"])
def test_a_publishable_key_finds_nothing_by_generated_pictures_that_it_may_not_see(
    guarded: TestClient, keys: dict[Scope, str], parted: bool
) -> None:
    thing = {"generation": {"generation_id": 999}}
    body = {"parts": [{"text": "书包"}, thing]} if parted else thing
    page = shown(key_of(guarded, Scope.read, [SHOP])) | {"Origin": SHOP}
    assert guarded.get("/suggest", params={"q": "书"}, headers=page).status_code == 200
    assert code_of(guarded.post("/search", json=body, headers=page)) == (403, "forbidden")
    answer = guarded.post("/search", json=body, headers=shown(keys[Scope.read]))
    assert code_of(answer) == (404, "generation_not_found")


@pytest.mark.parametrize("parted", [False, True], ids=["whole", "part"])
def test_a_publishable_key_has_no_other_server_asked_for_a_picture(
    guarded: TestClient, keys: dict[Scope, str], parted: bool
) -> None:
    thing = {"image_url": "https://other.example/x.png"}
    body = {"parts": [{"text": "书包"}, thing]} if parted else thing
    page = shown(key_of(guarded, Scope.read, [SHOP])) | {"Origin": SHOP}
    assert guarded.get("/suggest", params={"q": "书"}, headers=page).status_code == 200
    assert code_of(guarded.post("/search", json=body, headers=page)) == (403, "forbidden")
    answer = guarded.post("/search", json=body, headers=shown(keys[Scope.read]))
    assert code_of(answer) == (422, "image_url_disabled")


def test_a_picture_of_an_answer_is_loaded_without_a_key(
    guarded: TestClient, keys: dict[Scope, str], image_url: str
) -> None:
    assert guarded.get(image_url).headers["content-type"] == "image/png"
    small = guarded.get(f"{image_url}&size=64&revision=1")
    assert small.headers["content-type"] == "image/webp"
    path, _, _ = image_url.partition("?")
    assert code_of(guarded.get(path)) == (401, "key_required")
    assert guarded.get(path, headers=shown(keys[Scope.read])).status_code == 200


def test_every_answer_gives_the_signed_address(
    guarded: TestClient, keys: dict[Scope, str], image_url: str
) -> None:
    reading = shown(keys[Scope.read])
    product_id = int(image_url.split("/")[2])
    until(
        lambda: (
            guarded.get(f"/product/{product_id}", headers=reading).json()["index_status"]
            == "indexed"
        ),
        "indexing",
    )
    query = {"text": "书包", "min_confidence": 0}
    found = guarded.post("/search", json=query, headers=reading).json()["hits"]
    many = guarded.post("/search/batch", json={"queries": [query]}, headers=reading).json()
    ranked = {"text": "书包", "product_ids": [product_id]}
    reranked = guarded.post("/rerank", json=ranked, headers=reading).json()["hits"]
    products = [hit["product"] for hit in (*found, *many["results"][0]["hits"], *reranked)]
    products += guarded.get("/product/list", headers=reading).json()["items"]
    pictured = [one["image_url"] for one in products if one["product_id"] == product_id]
    assert len(pictured) == 4
    assert set(pictured) == {image_url}


def test_a_signature_opens_its_picture_alone(guarded: TestClient, image_url: str) -> None:
    path, _, signature = image_url.partition("?signature=")
    for wrong in (signature[:-2] + "AA", f"9{signature}", "1-" + "A" * 22, ""):
        assert guarded.get(path, params={"signature": wrong}).status_code == 401
    answer = guarded.get(path, params={"signature": signature[:-2] + "AA"})
    assert code_of(answer) == (401, "key_invalid")
    other = path.replace("/product/", "/product/9")
    assert code_of(guarded.get(other, params={"signature": signature})) == (401, "key_invalid")
    product = path.removesuffix("/image")
    assert code_of(guarded.get(product, params={"signature": signature})) == (401, "key_required")
    assert code_of(guarded.delete(product, params={"signature": signature}))[0] == 401


def test_a_wrong_key_is_not_helped_by_a_signature(guarded: TestClient, image_url: str) -> None:
    assert code_of(guarded.get(image_url, headers=shown(UNKNOWN))) == (401, "key_invalid")


def test_while_the_database_is_away_nobody_is_told_that_a_key_is_wrong(
    guarded: TestClient, keys: dict[Scope, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> NoReturn:
        raise DatabaseUnavailable("数据库暂时不可用")

    monkeypatch.setattr(type(resources(guarded).database), "read", fail)
    known = guarded.get("/suggest", params={"q": "书"}, headers=shown(keys[Scope.read]))
    assert known.status_code == 200
    unknown = guarded.get("/suggest", params={"q": "书"}, headers=shown(UNKNOWN))
    assert code_of(unknown) == (503, "database_unavailable")
    assert guarded.get("/health/live").status_code == 200


def test_no_log_has_a_key(
    guarded: TestClient, keys: dict[Scope, str], caplog: pytest.LogCaptureFixture
) -> None:
    key = keys[Scope.read]
    with caplog.at_level(logging.DEBUG):
        for headers in (shown(key), shown(f"{key}x"), shown(UNKNOWN)):
            guarded.get("/product/list", headers=headers)
            guarded.post("/product", json={}, headers=headers)
            guarded.get("/product/list", params={"key": key}, headers=headers)
    secret = key.rpartition("_")[2]
    told = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert not [line for line in told if secret in line]


def with_own_routes(settings: Settings) -> FastAPI:
    """The application with routes that nobody has given a scope."""
    app = create_app(settings)

    @app.get("/who")
    def who() -> str:
        return current_principal.get().name

    @app.websocket("/talk")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()

    return app


def test_a_route_without_a_scope_is_for_admins_and_knows_its_caller(
    open_settings: Callable[[], Settings],
) -> None:
    settings = open_settings().model_copy(update={"require_keys": True})
    with TestClient(with_own_routes(settings)) as api:
        for scope in (Scope.read, Scope.write):
            answer = api.get("/who", headers=shown(key_of(api, scope)))
            assert code_of(answer) == (403, "forbidden")
        assert api.get("/who", headers=shown(key_of(api, Scope.admin))).json() == "of a admin"
        with pytest.raises(WebSocketDisconnect), api.websocket_connect("/talk"):
            pass


def test_where_no_key_is_required_everything_is_as_it_was(api: TestClient) -> None:
    made = create(api, image_base64=base64_of(encoded(noise((32, 32)), "PNG")))
    assert made["image_url"] == f"/product/{made['product_id']}/image"
    for headers in ({}, shown(UNKNOWN), {"Authorization": "Basic x"}):
        assert api.get(made["image_url"], headers=headers).status_code == 200
        assert api.post("/product", json={"title": "伞"}, headers=headers).status_code == 201
    assert code_of(api.get("/admin")) == (404, "not_found")


def test_a_change_is_recorded_with_its_key_and_so_are_the_lines_of_its_request(
    guarded: TestClient, keys: dict[Scope, str]
) -> None:
    headers = shown(keys[Scope.write]) | {"X-Request-ID": "a-1"}
    made = guarded.post("/product", json={"title": "书包"}, headers=headers).json()
    query = {"product_id": made["product_id"]}
    listed = guarded.get("/system/changes", params=query, headers=shown(keys[Scope.admin]))
    (record,) = listed.json()["items"]
    assert (record["principal"], record["request_id"]) == ("of a write", "a-1")
    assert record["key_id"] == id_of(keys[Scope.write])
    with kept_lines() as lines:  # there is no model that makes pictures
        guarded.post("/generate", json={"prompt": "书包"}, headers=headers)
    (failed,) = [one for one in lines if one["logger"] == "product_search.api.metrics"]
    assert (failed["key"], failed["request_id"]) == ("of a write", "a-1")
