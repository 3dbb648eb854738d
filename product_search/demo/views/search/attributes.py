"""Filters by attribute on the search page: the values chosen, and those that the results have."""

from __future__ import annotations

import json
from collections.abc import Sequence

import streamlit as st

from data_models import AttributeFacet, Scalar, SearchFilters
from product_search.demo.html import plain
from product_search.demo.language import _

CHOSEN = "attributes"
_FACETS = 4
_OFFERED = 8
Chosen = dict[str, list[Scalar]]


def chosen_attributes() -> Chosen:
    """Return the values that are filtered by, by attribute; the address has them as JSON."""
    if CHOSEN not in st.session_state:
        st.session_state[CHOSEN] = _read(st.query_params.get(CHOSEN, "{}"))
    found: Chosen = st.session_state[CHOSEN]
    return found


def _read(given: str) -> Chosen:
    """Return the values in the address, which anybody can write: none where it has no filters."""
    try:
        filters = SearchFilters.model_validate({"attributes": json.loads(given)})
    except (ValueError, RecursionError):
        return {}
    conditions = (filters.attributes or {}).items()
    return {
        key: list({repr(value): value for value in one}.values())  # each once: true is not 1
        for key, one in conditions
        if isinstance(one, tuple)
    }


def attributes_in_address() -> str:
    """Return the chosen values as the address has them; empty where there are none."""
    chosen = chosen_attributes()
    return json.dumps(chosen, ensure_ascii=False) if chosen else ""


def show_chosen_attributes() -> None:
    """Show the values that are filtered by; a click takes one out."""
    for key, values in chosen_attributes().items():
        for value in values:
            st.button(
                f"{plain(key)} {plain(_text(value))} ✕",
                key=f"drop_attribute_{key}_{value!r}",
                help=_("不再按它筛选"),
                on_click=_drop,
                args=(key, value),
            )


def show_attribute_facets(facets: Sequence[AttributeFacet]) -> None:
    """Offer the values of the attributes that most results have; a click filters by a value."""
    offered = [one for one in facets if len(_offered(one)) > 1]
    for place, facet in enumerate(offered[:_FACETS]):
        with st.container(horizontal=True, vertical_alignment="center", key=f"facets_{place}"):
            st.caption(plain(facet.key), width="content")
            for value, count in _offered(facet)[:_OFFERED]:
                st.button(
                    f"{plain(_text(value))} {count}",
                    key=f"facet_attribute_{facet.key}_{value!r}",
                    type="tertiary",
                    on_click=_choose,
                    args=(facet.key, value),
                )


def _offered(facet: AttributeFacet) -> list[tuple[Scalar, int]]:
    chosen = chosen_attributes().get(facet.key, [])
    return [(one.value, one.count) for one in facet.values if one.value not in chosen]


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return _("是") if value else _("否")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _choose(key: str, value: Scalar) -> None:
    chosen = chosen_attributes()
    st.session_state[CHOSEN] = chosen | {key: [*chosen.get(key, []), value]}


def _drop(key: str, value: Scalar) -> None:
    values = [one for one in chosen_attributes().get(key, []) if one != value]
    others = {name: kept for name, kept in chosen_attributes().items() if name != key}
    st.session_state[CHOSEN] = others | ({key: values} if values else {})
