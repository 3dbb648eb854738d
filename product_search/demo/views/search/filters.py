"""Filters and facets of the search page."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import streamlit as st

from data_models import FacetCount
from product_search.client import ApiClient
from product_search.demo.html import plain
from product_search.demo.inputs import label_or_none, price_inputs, without_none
from product_search.demo.language import _
from product_search.demo.service import labels_or_none
from product_search.demo.views.search.attributes import (
    chosen_attributes,
    show_chosen_attributes,
)
from product_search.demo.views.search.query import BOUND


def filter_inputs(client: ApiClient) -> dict[str, Any]:
    """Ask for the filters, and return them as the API takes them."""
    st.subheader(_("筛选"), anchor=False)
    labels = labels_or_none(client)
    category = _label_input(_("分类"), labels.categories, "category")
    brand = _label_input(_("品牌"), labels.brands, "brand")
    low, high = price_inputs("filter")
    has_image = st.toggle(_("只看有图片的"), key="has_image", **BOUND)
    show_chosen_attributes()
    price = without_none({"gte": _amount(low), "lte": _amount(high)})
    return without_none(
        {
            "category": category or None,
            "brand": brand or None,
            "price": price or None,
            "has_image": has_image or None,
            "attributes": chosen_attributes() or None,
        }
    )


def _label_input(label: str, known: list[str], name: str) -> list[str]:
    chosen = st.multiselect(
        label,
        known,
        key=name,
        accept_new_options=True,
        placeholder=_("不限，可选可输入"),
        **BOUND,
    )
    return [value for value in map(label_or_none, chosen) if value is not None]


def _amount(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def show_facet(label: str, name: str, counts: Sequence[FacetCount]) -> None:
    """Offer the values that the results have; a click filters by a value."""
    chosen = st.session_state.get(name, [])
    offered = [one for one in counts if one.value not in chosen][:8]
    if len(offered) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"facet_{name}"):
        st.caption(label, width="content")
        for one in offered:
            text = f"{plain(one.value)} {one.count}"
            st.button(
                text,
                key=f"facet_{name}_{one.value}",
                type="tertiary",
                on_click=_filter_by,
                args=(name, one.value),
            )


def _filter_by(name: str, value: str) -> None:
    st.session_state[name] = [*st.session_state.get(name, []), value]
