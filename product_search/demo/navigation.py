"""The ways into a page and from page to page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import streamlit as st

from data_models import Health
from product_search.client import ApiClient
from product_search.demo.html import show_style
from product_search.demo.language import _
from product_search.demo.operators import may
from product_search.demo.service import open_client, show_service
from product_search.demo.sign_in import DIALOGS, show_caller

# What the search page keeps of its query; its filters stay.
_QUERY_STATE = ("text", "mode_zh", "mode_en", "like", "unlike", "generation", "picture")


def begin_page(title: str) -> tuple[ApiClient, Health | None]:
    """Show a page's style, its title and what is wrong with the service, if anything.

    Returns:
        The API's client, and the service's state; None in its place where it does not answer, or
        not to the visitor.
    """
    if not st.session_state.get("entered"):
        # A server's first visitor may come by a page's own address, before the front page ran.
        st.set_page_config(page_title=title, page_icon="🔎", layout="wide")
        st.html(f'<a href="./" target="_self">{_("搜索商品")}</a>')
    show_style()
    client = open_client()
    st.title(title, anchor=False)
    is_let_in = show_caller(client)
    return client, show_service(client) if is_let_in else None


def enter_page(path: str) -> None:
    """Close the dialogs that another page left open."""
    if st.session_state.get("page") != path:
        st.session_state["page"] = path
        for name in DIALOGS:
            st.session_state[name] = None


def open_in_catalog(product_id: int) -> NoReturn:
    """Go to the catalog page, with this product open for editing."""
    st.switch_page("pages/catalogue.py", query_params={"product": str(product_id)})


def show_open_button(product_id: int, key: str, **look: Any) -> None:
    """Show a button that opens the product on the catalog page, to be edited or only read."""
    label, icon = _("查看"), ":material/visibility:"
    if may("update_product"):
        label, icon = _("编辑"), ":material/edit:"
    if st.button(label, key=key, icon=icon, **look):
        open_in_catalog(product_id)


def open_generator(product_id: int) -> NoReturn:
    """Go to the page that generates images, for one of this product."""
    st.switch_page("pages/generate.py", query_params={"product": str(product_id)})


def open_search(query: Mapping[str, str]) -> NoReturn:
    """Go to the search page with this query alone, named as in its address."""
    for name in _QUERY_STATE:
        st.session_state.pop(name, None)
    # The front page is a function: it goes by its address, which is the empty one.
    front = st.Page(_front_page, title=_("搜索商品"), default=True)
    st.switch_page(front, query_params=query)


def _front_page() -> None:
    """Stand for the front page, whose address alone counts."""
