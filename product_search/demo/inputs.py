"""Inputs that several pages share, and what is typed there as the API takes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

import streamlit as st

from data_models import MAX_LABEL, is_blank
from product_search.demo.language import _

MAX_PRICE = 9_999_999_999.99


def label_or_none(text: str | None) -> str | None:
    """Return a label as typed, cut to the API's length; None where there is nothing to see."""
    return text[:MAX_LABEL] if text and not is_blank(text) else None


def price_inputs(prefix: str) -> tuple[Decimal | None, Decimal | None]:
    """Ask for the lowest and highest price; crossed ends are told and swapped."""
    left, right = st.columns(2, wrap=False)
    low = _price_input(left, _("最低价"), f"{prefix}_min_price")
    high = _price_input(right, _("最高价"), f"{prefix}_max_price")
    if low is not None and high is not None and low > high:
        st.caption(f":orange[{_('最低价高于最高价，已对调。')}]")
        return high, low
    return low, high


def _price_input(place: Any, label: str, key: str) -> Decimal | None:
    value = place.number_input(
        label,
        min_value=0.0,
        max_value=MAX_PRICE,
        value=None,
        step=1.0,
        format="%.2f",
        placeholder=_("不限"),
        key=key,
        persist_state="session",
    )
    return None if value is None else Decimal(f"{value:.2f}")


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object that the text is.

    Raises:
        ValueError: Where it is none, or can't be sent; the message says why to the visitor.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # fails for what UTF-8 can't carry
    except json.JSONDecodeError as error:
        reason = _("不是有效的 JSON：第 {line} 行第 {column} 列")
        raise ValueError(reason.format(line=error.lineno, column=error.colno)) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(_("不是有效的 JSON：有无法保存的数值或字符，或嵌套过深")) from error
    if not isinstance(value, dict):
        raise ValueError(_('应为 JSON 对象，例如 {"颜色": "红"}'))
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Drop entries whose value is None."""
    return {name: value for name, value in values.items() if value is not None}
