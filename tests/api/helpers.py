"""Short words for what every test of the API does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

from fastapi import FastAPI
from fastapi.testclient import TestClient

from main import create_app
from product_search.bootstrap.assemble import Resources
from product_search.bootstrap.encoders import EncoderLoader
from product_search.search.calibration import FORM
from product_search.settings import Settings


class Answer(Protocol):
    """What is read of an HTTP answer."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def content(self) -> bytes:
        """The body."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by name in any case."""
        ...

    def json(self) -> Any:
        """The body, parsed."""
        ...


def resources(api: TestClient) -> Resources:
    """What the running service holds."""
    return cast(Resources, cast(FastAPI, api.app).state.service.resources)


def base64_of(content: bytes) -> str:
    """As JSON carries an image."""
    return base64.b64encode(content).decode()


def create(api: TestClient, wait: bool = False, **fields: Any) -> dict[str, Any]:
    """A product made over JSON, as it is shown from then on; its title is 书包 unless given."""
    made = create_answer(api, wait, **fields)
    del made["duplicates"]
    return made


def create_answer(api: TestClient, wait: bool = False, **fields: Any) -> dict[str, Any]:
    """As create, with what the answer to the creation alone has."""
    suffix = "?wait=true" if wait else ""
    answer = api.post(f"/product{suffix}", json={"title": "书包"} | fields)
    assert answer.status_code == 201, answer.text
    return cast(dict[str, Any], answer.json())


def create_all(api: TestClient, products: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The products, all of them searchable: events are applied in the order of the writes."""
    rows = list(products)
    made = [create(api, **row) for row in rows[:-1]]
    return [*made, create(api, wait=True, **rows[-1])]


def search(api: TestClient, mode: str, **fields: Any) -> list[dict[str, Any]]:
    """The hits of a search over JSON, however little they fit unless told otherwise."""
    answer = api.post("/search", json={"mode": mode, "min_confidence": 0} | fields)
    assert answer.status_code == 200, answer.text
    return cast(list[dict[str, Any]], answer.json()["hits"])


def ids(hits: Iterable[Mapping[str, Any]]) -> list[int]:
    """The products of the hits, in their order."""
    return [hit["product"]["product_id"] for hit in hits]


def listed(api: TestClient, **parameters: Any) -> dict[str, Any]:
    """A page of the catalog."""
    answer = api.get("/product/list", params=parameters)
    assert answer.status_code == 200, answer.text
    return cast(dict[str, Any], answer.json())


def code_of(answer: Answer) -> tuple[int, str]:
    """Status and code of an error answer, whose shape is checked."""
    body = answer.json()
    assert {"code", "message"} <= set(body) <= {"code", "message", "fields"}, body
    assert isinstance(body["message"], str)
    assert body["message"]
    assert "Traceback" not in body["message"]
    return answer.status_code, body["code"]


def fields_of(answer: Answer) -> set[str]:
    """The fields that an error answer names."""
    return set(answer.json().get("fields") or {})


def everything(api: TestClient) -> tuple[Any, ...]:
    """All that a refused write must leave as it was: rows, events, images."""
    items: list[Any] = []
    last = 0
    while True:
        page = listed(api, after_id=last, page_size=100)["items"]
        if not page:
            break
        items += page
        last = page[-1]["product_id"]
    folder = resources(api).settings.images_dir
    pictures = sorted(path.name for path in folder.rglob("*") if path.is_file())
    rows = [{k: v for k, v in item.items() if k != "index_status"} for item in items]
    return rows, pictures


@contextmanager
def calibrated(
    settings: Settings, pairs: Mapping[str, Any] | None = None, **curves: Mapping[str, Any]
) -> Iterator[TestClient]:
    """A service over an empty folder with just these curves, by their legs."""
    fingerprint = EncoderLoader(settings).load_chosen().fingerprint
    settings.calibrations_dir.mkdir(parents=True)
    fitted = {"form": FORM, "fingerprint": fingerprint, "curves": curves, "pairs": pairs}
    path = settings.calibrations_dir / f"{fingerprint}.json"
    path.write_text(json.dumps(fitted), "utf-8")
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        yield api


def form(boundary: str, *parts: tuple[str, bytes]) -> dict[str, Any]:
    """A multipart body written by hand, from each part's headers and content."""
    body = b"".join(
        f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n"
        for headers, content in parts
    )
    return {
        "content": body + f"--{boundary}--\r\n".encode(),
        "headers": {"content-type": f"multipart/form-data; boundary={boundary}"},
    }
