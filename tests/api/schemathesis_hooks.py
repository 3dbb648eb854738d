"""What schemathesis checks and sends beside its own: codes, valid requests, real files."""

from __future__ import annotations

import json
import re
from typing import Any

import schemathesis
from PIL import Image
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response

from product_search.api.bodies import JSON_FIELDS
from tests.api.helpers import base64_of
from tests.unit.pictures import encoded

# Of ASCII alone: what schemathesis knows of a form's files is text.
PHOTO = encoded(Image.new("RGB", (4, 4), (90, 20, 20)), "BMP", dpi=(1, 1)).decode("ascii")
TABLE = "sku,title,price\nA-1,书包,9.9\n"
# Why a request that fits its schema may be invalid all the same: JSON Schema has no words for it.
UNSAID = re.compile(
    "不能大于 [a-z]|不能既要又不要|合计最多|时间超出范围|应为 ISO 8601|小数最多 2 位|超出 64 位范围"
    "|嵌套过深|过大（最多|page 或 sort|项数过多|legs：[a-z0-9_]+ 需要|各路都关闭了"
)


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Send in a valid request what no schema tells: pictures, tables, whole numbers as texts."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    case.path_parameters = _as_texts(case.path_parameters)
    case.query = _as_texts(case.query)
    if case.media_type == "multipart/form-data" and isinstance(case.body, dict):
        files = {"image": PHOTO, "file": TABLE}
        sent = {name: files[name] for name in files.keys() & case.body.keys()}
        case.body = _as_texts(case.body) | sent
    elif isinstance(case.body, dict | list):
        case.body = _with_pictures(case.body)


def _as_texts(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values without 5.0, which is an integer in JSON, and as a text is none."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in values.items()
    }


def _with_pictures(value: Any, name: str = "") -> Any:
    if isinstance(value, list):
        return [_with_pictures(part) for part in value]
    if isinstance(value, dict) and name != "attributes":
        return {key: _with_pictures(part, key) for key, part in value.items()}
    return base64_of(PHOTO.encode()) if name == "image_base64" and isinstance(value, str) else value


@schemathesis.check
def errors_are_documented(_context: CheckContext, response: Response, case: Case[Any]) -> None:
    """An error's code is one of those that its operation documents for the status."""
    responses = case.operation.definition.raw["responses"]
    documented = responses.get(str(response.status_code))
    if response.status_code < 400 or documented is None:  # another check's
        return
    examples = documented["content"]["application/json"].get("examples")
    body = json.loads(response.content)
    if examples is not None:
        assert body["code"] in examples, f"{response.status_code} {body['code']}"
    # The service under test has no model of generation, and all else that it needs.
    assert response.status_code < 500 or body["code"] == "generation_model_missing", body


@schemathesis.check
def valid_requests_are_taken(_context: CheckContext, response: Response, case: Case[Any]) -> None:
    """A request that fits its schema is invalid for such reasons alone as no schema can say."""
    is_valid = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if not is_valid or response.status_code != 422:
        return
    body = json.loads(response.content)
    if body["code"] != "invalid_request":
        return
    if case.media_type == "multipart/form-data":
        # JSON within a form's text.
        faults = [name for name in body.get("fields", ()) if name.split(".")[0] not in JSON_FIELDS]
        if "fields" in body and not faults:
            return
    assert UNSAID.search(body["message"]), body["message"]
