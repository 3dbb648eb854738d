"""What pydantic found wrong with a request, in Chinese."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from product_search.errors import InvalidRequest

# An answer stays small, whatever was asked.
_MAX_SHOWN = 20
_MAX_PLACE = 200
_MESSAGES = {
    "missing": "缺少必填项",
    "extra_forbidden": "未知字段",
    "string_type": "应为字符串",
    "string_unicode": "含有不完整的 Unicode 字符",
    "string_too_short": "不能为空",
    "string_too_long": "最多 {max_length} 个字符",
    "too_short": "至少 {min_length} 项",
    "too_long": "最多 {max_length} 项",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_from_float": "应为整数",
    "int_parsing_size": "数值过大",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "greater_than_equal": "不能小于 {ge}",
    "less_than_equal": "不能大于 {le}",
    "enum": "只能是 {expected}",
    "literal_error": "只能是 {expected}",
    "dict_type": "应为 JSON 对象",
    "list_type": "应为字符串或字符串数组",
    "model_attributes_type": "应为 JSON 对象",
    "model_type": "应为 JSON 对象",
    "value_error": "{error}",
}


def invalid_request(errors: Iterable[Mapping[str, Any]]) -> InvalidRequest:
    """Return pydantic's error list as one InvalidRequest with a message for each field.

    An error of the whole (an empty `loc`) is in the message alone.
    """
    fields: dict[str, str] = {}
    whole: list[str] = []
    for error in errors:
        reason = _MESSAGES.get(error["type"], "格式不正确").format(**error.get("ctx", {}))
        reason = reason.replace(" or ", "、").replace(", ", "、")  # of pydantic's `expected`
        if error["loc"]:
            place = ".".join(str(part) for part in error["loc"])
            fields.setdefault(place[:_MAX_PLACE], reason)
        else:
            whole.append(reason)
    shown = dict(islice(fields.items(), _MAX_SHOWN))
    reasons = whole + [f"{place}：{reason}" for place, reason in shown.items()]
    rest = f"；共 {len(fields)} 处" if len(fields) > _MAX_SHOWN else ""
    return InvalidRequest(f"请求有误：{'；'.join(reasons)}{rest}", shown)
