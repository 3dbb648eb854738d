"""What FastAPI leaves out of OpenAPI or says otherwise: bodies of dependencies, nulls, bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

import data_models
from data_models import ErrorBody
from product_search.access.addresses import PARAMETER
from product_search.access.errors import Forbidden, KeyInvalid, KeyRequired
from product_search.access.scopes import SIGNED, needed_scope
from product_search.api.bodies import FORM, JSON, JSON_FIELDS, BodyReader
from product_search.api.doors.front import GuardedApp
from product_search.api.doors.limits import cost_of
from product_search.api.errors import documented
from product_search.api.request_ids import RequestIds
from product_search.errors import (
    AppError,
    CrossSite,
    DatabaseUnavailable,
    HostNotAllowed,
    InvalidHost,
    RateLimited,
)
from product_search.schemas.examples import Example

Schema = dict[str, Any]
_REF = "#/components/schemas/{model}"
_KEY = "key"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "密钥，psk_… 或可公开的 pspk_…；服务不要求密钥时不必发送",
}
_OF_KEYS = KeyRequired, KeyInvalid, Forbidden, DatabaseUnavailable
_SIGNATURE = {
    "name": PARAMETER,
    "in": "query",
    "required": False,
    "schema": {"type": "string"},
    "description": "图片地址自带的签名，代替密钥；只随回答里的地址使用",
}


class App(GuardedApp):
    """The application; its OpenAPI describes each body that a BodyReader reads."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return what all requests go through: outermost, beyond every handler, their ids."""
        return RequestIds(super().build_middleware_stack())

    def openapi(self) -> Schema:
        """Return the OpenAPI document, which is made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            for path, method, reader in self._readers():
                document["paths"][path][method]["requestBody"] = _request_body(reader)
            schemas |= _schemas(reader for _, _, reader in self._readers())
            for parameter in _parameters(document):
                parameter["schema"] = _not_null(parameter["schema"])
            _restore_nulls(schemas)
            _spell_bounds(document)
            _describe_doors(document)
            self.openapi_schema = document
        return self.openapi_schema

    def _readers(self) -> Iterator[tuple[str, str, BodyReader[BaseModel]]]:
        """Yield the path, the method and the reader of each operation that has one."""
        for route in iter_route_contexts(self.routes):
            dependant = getattr(route, "dependant", None)
            for dependency in dependant.dependencies if dependant else ():
                if isinstance(dependency.call, BodyReader):
                    for method in route.methods or ():
                        yield route.path_format or "", method.lower(), dependency.call


def _request_body(reader: BodyReader[BaseModel]) -> Schema:
    names = {JSON: reader.kind.__name__}
    if reader.form_example is not None:
        names[FORM] = _form_name(reader.kind)
    content = {
        media_type: {"schema": {"$ref": _REF.format(model=name)}}
        for media_type, name in names.items()
    }
    return {"required": True, "content": content}


def _form_name(kind: type[BaseModel]) -> str:
    return f"{kind.__name__}Form"


def _schemas(readers: Iterable[BodyReader[BaseModel]]) -> Schema:
    """Return the schemas of the bodies, and of what is in them, by name."""
    forms = {reader.kind: reader.form_example for reader in readers}
    _, top = models_json_schema([(kind, "validation") for kind in forms], ref_template=_REF)
    schemas: Schema = dict(top["$defs"])
    for kind, example in forms.items():
        if example is not None:
            name = _form_name(kind)
            schemas[name] = _form_schema(schemas[kind.__name__], example) | {"title": name}
    return schemas


def _form_schema(schema: Schema, example: Example) -> Schema:
    """Return the multipart twin of a JSON body.

    Each field bears its part of the example, since Swagger UI fills in a form field by field.
    """
    fields = {k: v for k, v in schema["properties"].items() if k != "image_base64"}
    properties = {name: _field(name, _not_null(field)) for name, field in fields.items()}
    properties["image"] = {"type": "string", "format": "binary", "description": "图片文件"}
    for name, value in example.items():
        properties[name] = properties[name] | {"examples": [value]}
    rules = {"allOf": _of_file(schema["allOf"])} if "allOf" in schema else {}
    return schema | rules | {"properties": properties, "examples": [example]}


def _field(name: str, schema: Schema) -> Schema:
    if name not in JSON_FIELDS:
        return schema
    content = {"contentMediaType": JSON, "contentSchema": schema}
    return {"type": "string", "description": "JSON 文本"} | content


def _of_file(rule: Any) -> Any:
    """Return the rule, with the file in place of its base64."""
    if isinstance(rule, dict):
        return {_of_file(key): _of_file(value) for key, value in rule.items()}
    if isinstance(rule, list):
        return [_of_file(part) for part in rule]
    return "image" if rule == "image_base64" else rule


def _not_null(schema: Schema) -> Schema:
    """Return the schema without null, which neither a form nor a query string can hold."""
    rest = {k: v for k, v in schema.items() if k != "anyOf" and (k, v) != ("default", None)}
    kinds: list[Schema] = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return kinds[0] | rest
    return {"anyOf": kinds} | rest if kinds else rest


def _parameters(document: Schema) -> Iterator[Schema]:
    for operations in document["paths"].values():
        for operation in operations.values():
            yield from operation.get("parameters", ())


def _spell_bounds(value: Any) -> None:
    """Give bounds the names of JSON Schema.

    Behind a validator of its own, a field's bounds bear the names that pydantic has for them.
    """
    if isinstance(value, dict):
        for name, bound in (("ge", "minimum"), ("le", "maximum")):
            if isinstance(value.get(name), int | float):
                value[bound] = value.pop(name)
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            _spell_bounds(part)


def _describe_doors(document: Schema) -> None:
    """Say which operations take a key, and how the doors before them refuse requests."""
    document["components"]["securitySchemes"] = {_KEY: _SCHEME}
    for operations in document["paths"].values():
        for method, operation in operations.items():
            name = operation["operationId"]
            if needed_scope(name) is not None:
                operation["security"] = [{_KEY: []}, {}]  # where none is required, none is sent
            if name in SIGNED:
                operation.setdefault("parameters", []).append(_SIGNATURE)
            for status, response in documented(*_refusals(method, name)).items():
                _add_response(operation["responses"], str(status), response)


def _refusals(method: str, name: str) -> Iterator[type[AppError]]:
    """Yield the errors of the doors before an operation."""
    yield from (InvalidHost, HostNotAllowed)
    if method != "get":
        yield CrossSite
    if needed_scope(name) is not None:
        yield from _OF_KEYS
    if cost_of(name):
        yield RateLimited


def _add_response(responses: Schema, status: str, response: Schema) -> None:
    """Add a response, or what it says to the one that the operation has for the status."""
    del response["model"]
    response["content"][JSON]["schema"] = {"$ref": _REF.format(model=ErrorBody.__name__)}
    there = responses.setdefault(status, response)
    examples = there["content"][JSON].get("examples")
    if there is not response and examples is not None:
        for code, example in response["content"][JSON]["examples"].items():
            if code not in examples:
                there["description"] += f" / {code}"
                examples[code] = example


def _restore_nulls(schemas: Schema) -> None:
    """Put back what is null in examples: FastAPI drops it, answers have it."""
    for name, schema in schemas.items():
        if "examples" in schema and hasattr(data_models, name):
            kind: type[BaseModel] = getattr(data_models, name)
            schema["examples"] = kind.model_json_schema()["examples"]
