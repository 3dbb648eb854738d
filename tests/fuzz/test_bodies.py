"""Damaged bodies, JSON and forms, to every route that takes one: answered as OpenAPI has it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, strategies as st

from main import create_app
from product_search.schemas import examples
from tests.api.helpers import base64_of, form
from tests.fuzz.inputs import FEW, damaged
from tests.unit.pictures import encoded, four_colours
from tests.zips import zipped

PHOTO = encoded(four_colours(), "PNG")
TABLE = "sku,title,price\nA-1,书包,9.9\n".encode()
BODIES: dict[str, Any] = {
    "/product": {**examples.PRODUCT, "image_base64": base64_of(PHOTO)},
    "/search": {**examples.SEARCHES[1], "image_base64": base64_of(PHOTO), "top_k": 1},
    "/search/batch": examples.BATCH,
    "/rerank": examples.RERANK,
    "/match": examples.MATCHES[0],
    "/product/titles": {"image_base64": base64_of(PHOTO), "top_k": 1},
    "/generate": examples.GENERATE[0],
}
FORMS: dict[str, Any] = {
    "/product": examples.PRODUCT_FORM,
    "/search": examples.SEARCH_FORM,
    "/rerank": examples.RERANK_FORM,
    "/product/titles": examples.TITLES_FORM,
}
OPERATIONS: dict[str, Any] = create_app().openapi()["paths"]


def written(values: dict[str, Any]) -> bytes:
    """The form with its fields, and a picture as its file."""
    fields = [
        (f'Content-Disposition: form-data; name="{name}"', str(value).encode())
        for name, value in values.items()
        if name != "image"
    ]
    return multipart(*fields, (_file("image", "a.png"), PHOTO))


def _file(field: str, name: str) -> str:
    return f'Content-Disposition: form-data; name="{field}"; filename="{name}"'


def multipart(*parts: tuple[str, bytes]) -> bytes:
    content: bytes = form("b", *parts)["content"]
    return content


IMPORTS = [
    multipart((_file("file", "a.csv"), TABLE)),
    multipart((_file("file", "a.zip"), zipped(("a.csv", TABLE), ("a.png", PHOTO)))),
]
as_json = st.sampled_from(sorted(BODIES)).flatmap(
    lambda path: st.tuples(
        st.just(path),
        st.just("application/json"),
        damaged([json.dumps(BODIES[path], ensure_ascii=False).encode()]),
    )
)
as_form = st.sampled_from(sorted(FORMS)).flatmap(
    lambda path: st.tuples(
        st.just(path),
        st.just("multipart/form-data; boundary=b"),
        damaged([written(FORMS[path])]),
    )
)
as_upload = st.tuples(
    st.just("/product/import"), st.just("multipart/form-data; boundary=b"), damaged(IMPORTS)
)
odd_types = st.tuples(
    st.sampled_from(sorted({*BODIES, "/product/import"})),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    | st.sampled_from(
        [
            "application/json; charset=utf-16",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary*=utf-8''%E4%B8%AD",
        ]
    ),
    st.binary(max_size=60),
)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own remarks on broken pictures
@FEW
@given(as_json | as_form | as_upload | odd_types)
def test_any_body_is_answered_as_documented(api: TestClient, asked: tuple[str, str, bytes]) -> None:
    path, content_type, content = asked
    answer = api.post(path, content=content, headers={"content-type": content_type})
    documented = OPERATIONS[path]["post"]["responses"]
    assert str(answer.status_code) in documented, answer.text
    if answer.is_error:
        shown = documented[str(answer.status_code)]["content"]["application/json"]["examples"]
        assert answer.json()["code"] in shown
