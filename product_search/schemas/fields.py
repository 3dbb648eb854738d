"""The types of requests' values, with their bounds and checks."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

MAX_TITLE = 500
MAX_QUERY = 512
MAX_URL = 4096
MAX_LABEL = 100
MAX_DESCRIPTION = 5000
MAX_ATTRIBUTES_SIZE = 16_000
MAX_TOP_K = 100
MAX_OFFSET = 10_000
INT64_MAX = 2**63 - 1
PRICE_PATTERN = r"^[0-9]{1,10}(\.[0-9]{1,2})?$"
_MAX_PRICE = 9_999_999_999.99
# The context of values that bear their types, as those of JSON do: no string among them is a
# number. In forms and in query strings everything is text.
TYPED: Final = {"typed": True}

# Control, format, surrogate and separator characters: a text of only these shows nothing.
_INVISIBLE = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"}
# One character that is none of these, for JSON Schema: not all regular expressions know the
# categories, or characters above U+FFFF.
VISIBLE = (
    r"[^\x00-\x20\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb]"
)


class Strict(BaseModel):
    """A request body: unknown fields are refused, strings are kept as given."""

    model_config = ConfigDict(extra="forbid")


def is_blank(text: str) -> bool:
    """Return whether a person would see nothing at all in the text."""
    return all(unicodedata.category(char) in _INVISIBLE for char in text)


def _not_blank(text: str) -> str:
    if is_blank(text):
        raise ValueError("不能为空白")
    return text


def _parse_price(value: object) -> Decimal:
    """Return a number or decimal string as an exact amount with at most two decimals."""
    if isinstance(value, Decimal):
        text = format(value, "f")
    elif isinstance(value, str):
        text = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = str(value + 0)  # of the two zeros the one without a sign
    else:
        raise ValueError("应为数字或十进制字符串")
    # A JSON float such as 12.0 or 12.50 arrives as 12.0 or 12.5; both match as they are.
    if re.match(PRICE_PATTERN, text, re.ASCII) is None or text.endswith("\n"):
        raise ValueError("应为不小于 0 的十进制数，整数最多 10 位，小数最多 2 位")
    return Decimal(text).quantize(Decimal("0.01"))


def check_json(value: object, depth: int = 0) -> None:
    """Refuse what the two stores can't both keep: NaN, infinity, huge integers, lone surrogates."""
    if depth > 8:
        raise ValueError("嵌套过深（最多 8 层）")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("不能含 NaN 或无穷大")
    if isinstance(value, int) and abs(value) > INT64_MAX:
        raise ValueError("整数超出 64 位范围")
    if isinstance(value, str) and any(unicodedata.category(char) == "Cs" for char in value):
        raise ValueError("含有不完整的 Unicode 字符")
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_json(key, depth + 1)
            check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_json(item, depth + 1)


def _check_attributes(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    check_json(value)
    if len(str(value)) > MAX_ATTRIBUTES_SIZE:
        raise ValueError(f"过大（最多 {MAX_ATTRIBUTES_SIZE} 个字符）")
    return value


def _whole(value: object, info: ValidationInfo) -> object:
    """Refuse what Python takes for a number and a person does not: true, "1_0", " 5 "."""
    if isinstance(value, str):
        is_whole = info.context != TYPED and re.fullmatch(r"-?[0-9]+", value, re.ASCII) is not None
    else:
        is_whole = not isinstance(value, bool)
    if not is_whole:
        raise ValueError("应为整数")
    return value


def _number(value: object, info: ValidationInfo) -> object:
    """Refuse true, which Python takes for 1."""
    if isinstance(value, bool) or (isinstance(value, str) and info.context == TYPED):
        raise ValueError("应为数字")
    return value


def _flag(value: object, info: ValidationInfo) -> bool:
    """Refuse what else Python takes for true or false: 1, "on", "n"."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) and info.context != TYPED else ""
    if word not in ("true", "false"):
        raise ValueError("应为 true 或 false")
    return word == "true"


Number = Annotated[float, BeforeValidator(_number, json_schema_input_type=float)]
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag, json_schema_input_type=bool)]
Price = Annotated[
    Decimal,
    BeforeValidator(_parse_price),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": _MAX_PRICE},
                {"type": "string", "pattern": PRICE_PATTERN},
            ]
        },
        mode="validation",
    ),
    WithJsonSchema({"type": "string", "examples": ["129.00"]}, mode="serialization"),
]
_SHOWN = {"pattern": VISIBLE}
Title = Annotated[
    str,
    Field(min_length=1, max_length=MAX_TITLE, json_schema_extra=_SHOWN),
    AfterValidator(_not_blank),
]
Label = Annotated[
    str,
    Field(min_length=1, max_length=MAX_LABEL, json_schema_extra=_SHOWN),
    AfterValidator(_not_blank),
]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION)]
Attributes = Annotated[dict[str, JsonValue], AfterValidator(_check_attributes)]
ProductId = Annotated[Whole, Field(ge=1, le=INT64_MAX)]
Query = Annotated[
    str,
    Field(min_length=1, max_length=MAX_QUERY, json_schema_extra=_SHOWN),
    AfterValidator(_not_blank),
]


def _only_bytes(value: object) -> object:
    """Refuse what JSON can hold: over JSON there is no such field."""
    if not isinstance(value, bytes):
        raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
    return value


# The bytes of a file that came beside a form's fields; no field of JSON bodies.
Upload = Annotated[
    SkipJsonSchema[bytes | None],
    BeforeValidator(_only_bytes),
    Field(exclude=True, repr=False),
]

ImageUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL,
        description="图片的公网地址（http 或 https），由服务去取，代替 image_base64；"
        "须由管理员开启（PRODUCT_SEARCH_FETCH_IMAGES），否则为 image_url_disabled",
    ),
]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Several = Annotated[list[Label], Field(min_length=1, max_length=100)]
Labels = Annotated[_Several, BeforeValidator(_as_list, json_schema_input_type=Label | _Several)]
