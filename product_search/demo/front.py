"""The front page, which searches, and the navigation to the other pages."""

from __future__ import annotations

from typing import Any

import streamlit as st

from product_search.demo.errors import show_errors
from product_search.demo.language import _, show_language_switch
from product_search.demo.navigation import begin_page, enter_page
from product_search.demo.service import show_encoder
from product_search.demo.views.search.filters import filter_inputs
from product_search.demo.views.search.query import (
    keep_in_address,
    order_inputs,
    query_inputs,
    show_example_queries,
)
from product_search.demo.views.search.results import current_offset, show_results
from product_search.demo.views.search.understanding import kinds_as_typed, show_understood


def search_page() -> None:
    """Ask for words, an image or both, and show the products found."""
    client, health = begin_page(_("搜索商品"))
    with st.sidebar:
        filters = filter_inputs(client)
        sort, top_k, only_fitting = order_inputs()
        show_encoder(health)
    query, image = query_inputs(client)
    if health is None:
        return
    if query is None:
        keep_in_address(None, 0)
        show_example_queries()
        return
    as_typed = kinds_as_typed(query.get("text"))
    search = query | {
        "understand": dict.fromkeys(as_typed, False) or None,
        "top_k": top_k,
        "filters": filters or None,
        "sort": sort,
        "min_confidence": None if only_fitting else 0,
    }
    offset = current_offset((search, image))
    keep_in_address(query.get("text"), offset)
    with show_errors(), st.spinner(_("正在搜索…")):
        extras = {"offset": offset, "facets": True, "explain": True}
        response = client.search(search | extras, image)
        show_understood(query.get("text"), response.interpreted)
        show_results(client, response, sort, offset, top_k)


def _pages() -> list[Any]:
    return [
        st.Page(search_page, title=_("搜索商品"), icon=":material/search:", default=True),
        st.Page("pages/catalogue.py", title=_("商品目录"), icon=":material/inventory_2:"),
        st.Page("pages/imports.py", title=_("批量导入"), icon=":material/upload_file:"),
        st.Page("pages/matching.py", title=_("图文匹配"), icon=":material/rule:"),
        st.Page("pages/generate.py", title=_("生成图片"), icon=":material/auto_awesome:"),
        st.Page("pages/duplicates.py", title=_("查重"), icon=":material/content_copy:"),
        st.Page("pages/map.py", title=_("目录图"), icon=":material/scatter_plot:"),
        st.Page("pages/system.py", title=_("系统"), icon=":material/monitor_heart:"),
    ]


def show() -> None:
    """Show the page that the visitor has chosen, and the way to the others."""
    st.set_page_config(page_title=_("商品搜索"), page_icon="🔎", layout="wide")
    st.session_state["entered"] = True
    with st.sidebar:
        show_language_switch()
    chosen = st.navigation(_pages(), position="top")
    enter_page(chosen.url_path)
    chosen.run()
