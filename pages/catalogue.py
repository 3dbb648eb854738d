"""The catalog page: browse, add, edit and delete products, one or many at a time."""

from __future__ import annotations

import streamlit as st

from product_search.demo.language import _
from product_search.demo.navigation import begin_page
from product_search.demo.service import show_encoder
from product_search.demo.views.catalog.form import (
    current_form,
    open_form_of_address,
    show_form,
)
from product_search.demo.views.catalog.products import (
    condition_inputs,
    show_dialog,
    show_notice,
    show_products,
)


def catalog_page() -> None:
    """Show the list, or the open form in its place."""
    client, health = begin_page(_("商品目录"))
    if health is not None:
        open_form_of_address(client)
    form = current_form()
    if form is not None:
        show_form(client, form)
    elif health is not None:
        show_notice(client)
        show_products(client, condition_inputs(client))
        show_dialog(client)
    with st.sidebar:
        show_encoder(health)


catalog_page()
