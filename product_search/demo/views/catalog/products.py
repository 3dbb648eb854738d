"""The catalog's list: its conditions, its rows and their choice, and what was done last."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from math import ceil
from typing import Any

import streamlit as st

from data_models import (
    MAX_TITLE,
    IndexStatus,
    ListSort,
    ProductListQuery,
    ProductOut,
    ProductPage,
)
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.inputs import label_or_none, price_inputs, without_none
from product_search.demo.language import N_, _, option_name, widget_key
from product_search.demo.operators import may
from product_search.demo.service import labels_or_none, product_title
from product_search.demo.sign_in import allows
from product_search.demo.views.catalog.bulk_edit import open_bulk, show_bulk
from product_search.demo.views.catalog.form import open_form
from product_search.demo.views.catalog.state import Notice, chosen_ids, finish

PAGE_SIZE = 20
SORT_NAMES = {
    ListSort.newest: N_("最新在前"),
    ListSort.oldest: N_("最早在前"),
    ListSort.price_asc: N_("价格从低到高"),
    ListSort.price_desc: N_("价格从高到低"),
}
_NO_FILTERS: dict[str, Any] = {
    "list_q": "",
    "list_category": None,
    "list_brand": None,
    "list_min_price": None,
    "list_max_price": None,
}
_STATUS = "list_status"  # one of the filters too, a widget for each language
# What of a page changes once the index has caught up: ids, revisions and states.
States = list[tuple[int, int, IndexStatus]]


def show_notice(client: ApiClient) -> None:
    """Show what was done last, until something else is."""
    notice: Notice | None = st.session_state.get("notice")
    if notice is None:
        return
    if notice.is_error:
        st.error(notice.text, icon=":material/error:")
    else:
        st.success(notice.text, icon=":material/check_circle:")
    if notice.problems:
        failed = _("{count} 件未能修改，仍保持选中：").format(count=len(notice.problems))
        lines = "\n".join(f"- {problem}" for problem in notice.problems)
        st.error(f"{failed}\n\n{lines}", icon=":material/error:")
    if notice.duplicates:
        _show_duplicates(client, notice.duplicates)


def _show_duplicates(client: ApiClient, product_ids: tuple[int, ...]) -> None:
    with st.container(border=True, key="duplicates", gap="xsmall"):
        known = _("目录里已有相同的商品，点击查看：")
        st.markdown(f":material/content_copy: {known}")
        for product_id in product_ids:
            title = product_title(client, product_id) or ""
            label = html.plain(f"{title} #{product_id}")
            name = f"duplicate_{product_id}"
            if st.button(label, key=name, type="tertiary", icon=":material/open_in_new:"):
                open_form(client, product_id)
                st.rerun()


# Conditions


def condition_inputs(client: ApiClient) -> dict[str, Any]:
    """Ask what to list; another answer than before starts at the first page.

    Returns:
        Fields of ProductListQuery, None for a filter that is not set.
    """
    with st.container(horizontal=True, vertical_alignment="bottom", key="list_bar"):
        conditions: dict[str, Any] = {"q": _title_input(), "sort": _sort_input()}
    with st.sidebar:
        st.subheader(_("筛选"), anchor=False)
        labels = labels_or_none(client)
        conditions["category"] = _label_input(_("分类"), labels.categories, "list_category")
        conditions["brand"] = _label_input(_("品牌"), labels.brands, "list_brand")
        conditions["index_status"] = _status_input()
        conditions["min_price"], conditions["max_price"] = price_inputs("list")
        if _is_filtered():
            label, icon = _("清除筛选"), ":material/filter_alt_off:"
            st.button(label, key="clear", icon=icon, on_click=_clear_filters)
    if st.session_state.setdefault("listed", conditions) != conditions:
        st.session_state["listed"] = conditions
        st.session_state["list_page"] = 1
        st.session_state["notice"] = None
    return conditions


def _title_input() -> str | None:
    text = st.text_input(
        _("标题包含"),
        key="list_q",
        max_chars=MAX_TITLE,
        placeholder=_("按标题筛选"),
        icon=":material/search:",
        label_visibility="collapsed",
        persist_state="session",
    )
    return text or None


def _sort_input() -> ListSort:
    sort: ListSort = st.selectbox(
        _("排序"),
        list(SORT_NAMES),
        format_func=partial(option_name, SORT_NAMES),
        key=widget_key("list_sort"),
        filter_mode=None,
        label_visibility="collapsed",
        width=180,
        persist_state="session",
    )
    return sort


def _label_input(label: str, known: list[str], name: str) -> str | None:
    chosen = st.selectbox(
        label,
        known,
        index=None,
        key=name,
        accept_new_options=True,
        placeholder=_("不限，可选可输入"),
        persist_state="session",
    )
    return label_or_none(chosen)


def _status_input() -> IndexStatus | None:
    return st.selectbox(
        _("索引状态"),
        list(IndexStatus),
        index=None,
        format_func=partial(option_name, html.STATUS_NAMES),
        key=widget_key(_STATUS),
        placeholder=_("不限"),
        filter_mode=None,
        persist_state="session",
    )


def _is_filtered() -> bool:
    names = (*_NO_FILTERS, widget_key(_STATUS))
    return any(st.session_state.get(name) not in ("", None) for name in names)


def _clear_filters() -> None:
    st.session_state.update(_NO_FILTERS | {widget_key(_STATUS): None})


# The list


@st.fragment
def show_products(client: ApiClient, conditions: dict[str, Any]) -> None:
    """Show a page of the list, and watch for its pending products to be indexed."""
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
        st.session_state["list_page"] = _page_count(page)
        st.rerun()
    _show_head(client, page)
    if not page.items:
        _show_empty()
        return
    with st.container(key="catalogue_table", gap=None):
        _show_table_head(page)
        for product in page.items:
            _show_row(client, product)
    _show_turning(page)
    if any(product.index_status is IndexStatus.pending for product in page.items):
        _wait_for_index(client, query, _states(page))


def _show_head(client: ApiClient, page: ProductPage) -> None:
    if not allows("update_product", _("新增、修改和删除商品")):
        st.caption(_("共 {count} 件商品").format(count=page.total))
        return
    with st.container(horizontal=True, vertical_alignment="center", key="list_head"):
        if st.button(_("新增商品"), key="add", type="primary", icon=":material/add:"):
            open_form(client)
            st.rerun()
        count = len(chosen_ids())
        if not count:
            st.caption(_("共 {count} 件商品").format(count=page.total), width="content")
            return
        st.markdown(_("已选 **{count}** 件").format(count=count), width="content")
        if st.button(_("批量修改"), key="open_bulk", icon=":material/edit_note:"):
            open_bulk(client)
            st.rerun()
        st.button(
            _("取消选择"),
            key="choose_none",
            type="tertiary",
            icon=":material/close:",
            on_click=chosen_ids().clear,
        )


def _show_empty() -> None:
    if not _is_filtered():
        st.info(_("目录还是空的。新增一件商品，或到“批量导入”一次放入许多。"))
        return
    st.info(_("没有符合条件的商品。可以放宽筛选条件，或新增商品。"), icon=":material/search_off:")
    if st.button(_("清除筛选"), key="clear_empty", on_click=_clear_filters):
        st.rerun()


def _show_table_head(page: ProductPage) -> None:
    if not may("update_product"):
        st.container(key="read_head_row").html(html.row_head_html())
        return
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key="head_row"):
        _choice_input(_("全选本页"), "choose_all", [product.product_id for product in page.items])
        st.html(html.row_head_html())


def _show_row(client: ApiClient, product: ProductOut) -> None:
    number, is_changeable = product.product_id, may("update_product")
    with st.container(
        horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{number}"
    ):
        if is_changeable:
            title = html.plain(product.title)
            _choice_input(_("选择“{title}”").format(title=title), f"choose_{number}", [number])
        st.html(html.row_html(client, product))
        with st.container(horizontal=True, wrap=False, width="content", gap="xxsmall"):
            label, icon = _("查看"), ":material/visibility:"
            if is_changeable:
                label, icon = _("编辑"), ":material/edit:"
            if st.button(label, key=f"edit_{number}", type="tertiary", icon=icon):
                open_form(client, number)
                st.rerun()
            if is_changeable:
                _show_delete_button(product)


def _show_delete_button(product: ProductOut) -> None:
    key, icon = f"delete_{product.product_id}", ":material/delete:"
    if st.button(_("删除"), key=key, type="tertiary", icon=icon):
        st.session_state["deleting"] = product
        st.rerun()


def _choice_input(label: str, name: str, ids: list[int]) -> None:
    """Show a box that is ticked where all of these products are chosen."""
    key = _box_key(name, is_ticked=chosen_ids().issuperset(ids))
    st.checkbox(
        label, key=key, label_visibility="collapsed", on_change=_choose, args=(name, key, set(ids))
    )


def _box_key(name: str, *, is_ticked: bool) -> str:
    """Return the key of the box, a new one where another input has ticked or cleared it.

    Until the browser has drawn such a change, each of its clicks tells the former value too,
    which would undo the choice: what it tells of a former key is not heard.
    """
    key: str = st.session_state.get(name, f"{name}_0")
    if st.session_state.get(key, False) != is_ticked:
        key = f"{name}_{int(key.removeprefix(f'{name}_')) + 1}"
        st.session_state[key] = is_ticked
    st.session_state[name] = key
    return key


def _choose(name: str, key: str, ids: set[int]) -> None:
    if key != st.session_state[name]:
        return
    if st.session_state[key]:
        chosen_ids().update(ids)
    else:
        chosen_ids().difference_update(ids)


def _show_turning(page: ProductPage) -> None:
    if _page_count(page) > 1:
        # A widget of its own for each page: the page is also turned from elsewhere.
        key = f"pages_{page.page}"
        st.pagination(
            _page_count(page), default=page.page, key=key, on_change=_turn_to, args=(key,)
        )


def _page_count(page: ProductPage) -> int:
    return max(1, ceil(page.total / PAGE_SIZE))


def _turn_to(key: str) -> None:
    st.session_state["list_page"] = st.session_state[key]


def _states(page: ProductPage) -> States:
    return [(item.product_id, item.revision, item.index_status) for item in page.items]


@st.fragment(run_every=3)
def _wait_for_index(client: ApiClient, query: ProductListQuery, before: States) -> None:
    """Ask again every few seconds; what has changed is listed anew."""
    with suppress(ApiUnreachable, ApiError, ValueError):
        if _states(client.list_products(query)) != before:
            st.rerun()


# Dialogs


def show_dialog(client: ApiClient) -> None:
    """Show the open dialog, if any: that of a deletion, or that of a bulk edit."""
    product: ProductOut | None = st.session_state.get("deleting")
    if product is not None:
        dialog = st.dialog(_("删除商品"), icon=":material/delete:", on_dismiss=_keep)
        dialog(_confirm_deletion)(client, product)
    elif st.session_state.get("bulk") is not None:
        show_bulk(client, st.session_state["bulk"])


def _confirm_deletion(client: ApiClient, product: ProductOut) -> None:
    title = html.plain(html.shorten(product.title))
    st.warning(_("确认删除“{title}”？删除后不能恢复。").format(title=title))
    with st.container(horizontal=True):
        is_confirmed = st.button(_("确认删除"), key="confirm_delete", type="primary")
        if st.button(_("取消"), key="cancel_delete"):
            _keep()
            st.rerun()
    if is_confirmed:
        with show_errors():
            client.delete_product(product.product_id)
            chosen_ids().discard(product.product_id)
            done = _("已删除“{title}”，它不再出现在搜索结果里。")
            finish(Notice(done.format(title=title)))


def _keep() -> None:
    st.session_state["deleting"] = None
