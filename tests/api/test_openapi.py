"""The committed openapi.json is the app's, whole and with examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

import data_models
from main import create_app
from product_search.errors import AppError
from product_search.settings import ROOT
from tests.api.helpers import base64_of, create
from tests.unit.pictures import encoded, noise

SCHEMA: dict[str, Any] = create_app().openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in SCHEMA["paths"].items()
    for method, operation in operations.items()
}
CODES = {kind.code: kind.status for kind in AppError.kinds()}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object inside a value."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def resolve(reference: str) -> Any:
    assert reference.startswith("#/")
    found: Any = SCHEMA
    for part in reference[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_the_committed_file_is_the_apps() -> None:
    written = json.dumps(SCHEMA, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    committed = (ROOT / "openapi.json").read_text("utf-8")
    assert committed == written, "run `make openapi` and commit the file"


def test_every_route_is_there() -> None:
    assert set(OPERATIONS) == {
        "POST /product",
        "GET /product/list",
        "POST /product/import",
        "GET /product/import/{import_id}",
        "DELETE /product/import/{import_id}",
        "GET /product/duplicates",
        "POST /product/duplicates",
        "GET /product/audit",
        "POST /product/audit",
        "GET /product/map",
        "GET /product/{product_id}",
        "PATCH /product/{product_id}",
        "DELETE /product/{product_id}",
        "GET /product/{product_id}/image",
        "POST /search",
        "POST /search/batch",
        "GET /suggest",
        "POST /rerank",
        "POST /match",
        "POST /product/titles",
        "GET /product/{product_id}/similar",
        "POST /generate",
        "GET /generate",
        "GET /generate/{generation_id}",
        "DELETE /generate/{generation_id}",
        "GET /generate/{generation_id}/image/{number}",
        "GET /generate/{generation_id}/preview",
        "GET /health",
        "GET /health/live",
        "GET /health/ready",
        "GET /system/drift",
        "POST /system/drift",
        "POST /system/repair",
        "GET /system/me",
        "GET /system/runs",
        "GET /system/changes",
        "GET /metrics",
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_route_says_what_it_does_and_answers(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    for status, response in operation["responses"].items():
        assert response["description"]
        if status not in {"204", "304"}:
            assert response["content"], f"{status} has neither schema nor examples"


@pytest.mark.parametrize("name", ["POST /product", "PATCH /product/{product_id}", "POST /search"])
def test_a_body_is_described_as_json_and_as_a_form(name: str) -> None:
    content = OPERATIONS[name]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    as_json = resolve(content["application/json"]["schema"]["$ref"])
    as_form = resolve(content["multipart/form-data"]["schema"]["$ref"])
    assert as_json.get("examples") or content["application/json"].get("examples")
    assert as_form["properties"]["image"]["format"] == "binary"
    assert set(as_json["properties"]) - {"image_base64"} == set(as_form["properties"]) - {"image"}


def test_bounds_have_the_names_that_clients_know() -> None:
    for node in nodes(SCHEMA):
        assert not [name for name in ("ge", "le") if isinstance(node.get(name), int | float)], node
    given = OPERATIONS["GET /product/{product_id}"]["parameters"][0]["schema"]
    assert (given["minimum"], given["maximum"]) == (1, 2**63 - 1)
    parts = SCHEMA["components"]["schemas"]["QueryPart"]["properties"]
    assert (parts["weight"]["minimum"], parts["weight"]["maximum"]) == (-1, 1)


def test_nothing_that_is_sent_as_text_can_be_null() -> None:
    parameters = [
        one for operation in OPERATIONS.values() for one in operation.get("parameters", ())
    ]
    fields = [field for form in FORMS.values() for field in form["properties"].values()]
    assert parameters
    for schema in [one["schema"] for one in parameters] + fields:
        assert {"type": "null"} not in schema.get("anyOf", ())
        assert schema.get("default", ...) is not None


def test_images_say_by_what_they_are_revalidated() -> None:
    for name in ("GET /product/{product_id}/image", "GET /generate/{generation_id}/image/{number}"):
        for status in ("200", "304"):
            assert {"ETag", "Cache-Control"} <= OPERATIONS[name]["responses"][status][
                "headers"
            ].keys()


FORMS = {
    name: resolve(content["multipart/form-data"]["schema"]["$ref"])
    for name, operation in OPERATIONS.items()
    for content in [operation.get("requestBody", {}).get("content", {})]
    if "$ref" in content.get("multipart/form-data", {}).get("schema", {})
}


@pytest.mark.parametrize("name", FORMS)
def test_the_example_of_a_form_works_as_it_is_pasted(api: TestClient, name: str) -> None:
    """Each field from its own example, as Swagger UI fills them in."""
    method, path = name.split()
    photo = encoded(noise((64, 64)), "JPEG")
    create(api, wait=True, image_base64=base64_of(photo))
    (example,) = FORMS[name]["examples"]
    fields = {
        field: schema["examples"][0]
        for field, schema in FORMS[name]["properties"].items()
        if "examples" in schema
    }
    assert fields == example
    file = fields.pop("image")
    answer = api.request(
        method,
        path.format(product_id=1),
        data={field: str(value) for field, value in fields.items()},
        files={"image": (file, photo, "image/jpeg")},
    )
    assert answer.is_success, answer.text


ANSWERS = {
    node["$ref"].rpartition("/")[2]
    for operation in OPERATIONS.values()
    for status, response in operation["responses"].items()
    if status.startswith("2")
    for node in nodes(response)
    if isinstance(node.get("$ref"), str)
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_the_example_of_an_answer_has_what_the_answer_has(name: str) -> None:
    for example in SCHEMA["components"]["schemas"][name]["examples"]:
        kind: type[BaseModel] = getattr(data_models, name)
        assert kind.model_validate(example).model_dump(mode="json") == example


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_documented_error_has_an_example_of_a_known_code_and_status(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        examples = response.get("content", {}).get("application/json", {}).get("examples", {})
        for code, example in examples.items():
            if int(status) >= 400:
                assert CODES[code] == int(status)
                assert example["value"]["code"] == code
                assert example["value"]["message"]


def test_every_error_of_the_table_is_documented_somewhere() -> None:
    documented = {
        code
        for operation in OPERATIONS.values()
        for response in operation["responses"].values()
        for code in response.get("content", {}).get("application/json", {}).get("examples", {})
    }
    assert set(CODES) <= documented


def test_every_error_answer_has_the_one_error_body() -> None:
    for operation in OPERATIONS.values():
        for status, response in operation["responses"].items():
            if int(status) >= 400 and "schema" in response["content"]["application/json"]:
                reference = response["content"]["application/json"]["schema"]["$ref"]
                assert reference.rpartition("/")[2] in {"ErrorBody", "Health", "Readiness"}


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in nodes(SCHEMA) if isinstance(node.get("$ref"), str)]
    assert references
    for reference in references:
        assert isinstance(resolve(reference), dict)


def test_fastapis_own_error_shape_is_nowhere() -> None:
    assert "HTTPValidationError" not in json.dumps(SCHEMA)


def test_the_error_body_is_as_documented() -> None:
    assert set(SCHEMA["components"]["schemas"]["ErrorBody"]["required"]) == {"code", "message"}
    assert set(SCHEMA["components"]["schemas"]["ErrorBody"]["properties"]) == {
        "code",
        "message",
        "fields",
    }
