"""The catalog page: browse, add, edit and delete products, one or many at a time."""

from __future__ import annotations

from contextlib import suppress
from math import ceil
from typing import Any

import streamlit as st

from data_models import IndexStatus, ProductListQuery, ProductOut, ProductPage
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.inputs import without_none
from product_search.demo.language import _
from product_search.demo.navigation import begin_page
from product_search.demo.service import show_encoder
from product_search.demo.views import bulk_edit, catalog, form as demo_form
from product_search.demo.views.catalog import Notice

PAGE_SIZE = 20


def catalog_page() -> None:
    """The list, or the open form in its place."""
    client, health = begin_page(_("商品目录"))
    if health is not None:
        _open_linked(client)
    form: demo_form.Form | None = st.session_state.get("form")
    if form is not None:
        demo_form.show_form(client, form)
    elif health is not None:
        catalog.show_notice(client, lambda number: demo_form.open_form(client, number))
        _show_list(client, catalog.conditions(client))
        _show_dialog(client)
    with st.sidebar:
        show_encoder(health)


def _open_linked(client: ApiClient) -> None:
    """The address may name a product to edit; that of an open form names its own."""
    given = st.query_params.get("product")
    form: demo_form.Form | None = st.session_state.get("form")
    shown = str(form.product.product_id) if form is not None and form.product else None
    if given is None or given == shown:
        return
    if given.isdecimal() and len(given) < 20:
        demo_form.open_form(client, int(given))
        return
    catalog.close_form()
    unknown = _("没有编号为“{given}”的商品。").format(given=html.plain(given[:40]))
    st.session_state["notice"] = Notice(unknown, is_error=True)


@st.fragment
def _show_list(client: ApiClient, conditions: dict[str, Any]) -> None:
    # Not validated here: the API does it, and says in Chinese what is wrong.
    query = ProductListQuery.model_construct(
        page=st.session_state.get("list_page", 1),
        page_size=PAGE_SIZE,
        **without_none(conditions),
    )
    page = None
    with show_errors():
        page = client.list_products(query)
    if page is None:
        return
    if page.total and not page.items:  # what was on the last page is gone
        st.session_state["list_page"] = _pages(page)
        st.rerun()
    _show_head(client, page)
    if not page.items:
        _show_empty()
        return
    with st.container(key="catalogue_table", gap=None):
        _show_table_head(page)
        for product in page.items:
            _show_row(client, product)
    _show_pages(page)
    if any(product.index_status is IndexStatus.pending for product in page.items):
        _wait_for_index(client, query, _states(page))


def _show_head(client: ApiClient, page: ProductPage) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="list_head"):
        if st.button(_("新增商品"), key="add", type="primary", icon=":material/add:"):
            demo_form.open_form(client)
            st.rerun()
        count = len(catalog.chosen())
        if not count:
            st.caption(_("共 {count} 件商品").format(count=page.total), width="content")
            return
        st.markdown(_("已选 **{count}** 件").format(count=count), width="content")
        if st.button(_("批量修改"), key="open_bulk", icon=":material/edit_note:"):
            bulk_edit.open_bulk(client)
            st.rerun()
        st.button(
            _("取消选择"),
            key="choose_none",
            type="tertiary",
            icon=":material/close:",
            on_click=catalog.chosen().clear,
        )


def _show_empty() -> None:
    if not catalog.is_filtered():
        st.info(_("目录还是空的。新增一件商品，或到“批量导入”一次放入许多。"))
        return
    st.info(_("没有符合条件的商品。可以放宽筛选条件，或新增商品。"), icon=":material/search_off:")
    if st.button(_("清除筛选"), key="clear_empty", on_click=catalog.clear_filters):
        st.rerun()


def _show_table_head(page: ProductPage) -> None:
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key="head_row"):
        _choice(_("全选本页"), "choose_all", [product.product_id for product in page.items])
        st.html(html.row_head_html())


def _show_row(client: ApiClient, product: ProductOut) -> None:
    number = product.product_id
    with st.container(
        horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{number}"
    ):
        title = html.plain(product.title)
        _choice(_("选择“{title}”").format(title=title), f"choose_{number}", [number])
        st.html(html.row_html(client, product))
        with st.container(horizontal=True, wrap=False, width="content", gap="xxsmall"):
            label = _("编辑")
            if st.button(label, key=f"edit_{number}", type="tertiary", icon=":material/edit:"):
                demo_form.open_form(client, number)
                st.rerun()
            label = _("删除")
            if st.button(label, key=f"delete_{number}", type="tertiary", icon=":material/delete:"):
                st.session_state["deleting"] = product
                st.rerun()


def _choice(label: str, key: str, ids: list[int]) -> None:
    """A box that is ticked where all of these are chosen."""
    is_chosen = catalog.chosen().issuperset(ids)
    # Written only where it differs: what is written anew would undo a click that is on its way.
    if st.session_state.get(key, False) != is_chosen:
        st.session_state[key] = is_chosen
    st.checkbox(
        label, key=key, label_visibility="collapsed", on_change=_choose, args=(key, set(ids))
    )


def _choose(key: str, ids: set[int]) -> None:
    known = catalog.chosen()
    if st.session_state[key]:
        known.update(ids)
    else:
        known.difference_update(ids)


def _show_pages(page: ProductPage) -> None:
    if _pages(page) > 1:
        # A widget of its own for each page: the page is also turned from elsewhere.
        key = f"pages_{page.page}"
        st.pagination(_pages(page), default=page.page, key=key, on_change=_turn_to, args=(key,))


def _pages(page: ProductPage) -> int:
    return max(1, ceil(page.total / PAGE_SIZE))


def _turn_to(key: str) -> None:
    st.session_state["list_page"] = st.session_state[key]


def _states(page: ProductPage) -> list[tuple[int, int, IndexStatus]]:
    return [(item.product_id, item.revision, item.index_status) for item in page.items]


@st.fragment(run_every=3)
def _wait_for_index(
    client: ApiClient, query: ProductListQuery, shown: list[tuple[int, int, IndexStatus]]
) -> None:
    """Ask again every few seconds; what has changed is listed anew."""
    with suppress(ApiUnreachable, ApiError, ValueError):
        if _states(client.list_products(query)) != shown:
            st.rerun()


def _show_dialog(client: ApiClient) -> None:
    """What waits for an answer, if anything does."""
    deleting: ProductOut | None = st.session_state.get("deleting")
    if deleting is not None:
        ask = st.dialog(_("删除商品"), icon=":material/delete:", on_dismiss=_keep)
        ask(_confirm_delete)(client, deleting)
    elif st.session_state.get("bulk") is not None:
        bulk_edit.show_bulk(client, st.session_state["bulk"])


def _confirm_delete(client: ApiClient, product: ProductOut) -> None:
    title = html.plain(html.shortened(product.title))
    st.warning(_("确认删除“{title}”？删除后不能恢复。").format(title=title))
    with st.container(horizontal=True):
        confirmed = st.button(_("确认删除"), key="confirm_delete", type="primary")
        if st.button(_("取消"), key="cancel_delete"):
            _keep()
            st.rerun()
    if confirmed:
        with show_errors():
            client.delete_product(product.product_id)
            catalog.chosen().discard(product.product_id)
            done = _("已删除“{title}”，它不再出现在搜索结果里。")
            catalog.finish(Notice(done.format(title=title)))


def _keep() -> None:
    st.session_state["deleting"] = None


catalog_page()
