"""The catalogue page: browse, add, edit and delete products."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NoReturn

import streamlit as st

from data_models import (
    MAX_DESCRIPTION,
    MAX_LABEL,
    MAX_TITLE,
    IndexStatus,
    ListSort,
    ProductListQuery,
    ProductOut,
    ProductPage,
    is_blank,
)
from product_search import demo, demo_html
from product_search.api_client import ApiClient, ApiError, ApiUnreachable
from product_search.demo_picture import picture_input

PAGE_SIZE = 20
SORT_NAMES = {
    ListSort.newest: "最新在前",
    ListSort.oldest: "最早在前",
    ListSort.price_asc: "价格从低到高",
    ListSort.price_desc: "价格从高到低",
}
TO_CORRECT = "尚未保存：请修改标红的字段。"
FIELDS = ("title", "sku", "category", "brand", "price", "description", "attributes")


@dataclass
class Form:
    """The open form: the product it edits (None: a new one), and what was wrong with it last."""

    number: int
    product: ProductOut | None
    errors: dict[str, str] = field(default_factory=dict)
    message: str | None = None

    def key(self, name: str) -> str:
        """Another for each form that is opened, so that none starts with another's words."""
        return f"form{self.number}_{name}"


def catalogue_page() -> None:
    """The list, or the open form in its place."""
    client, health = demo.begin_page("商品目录")
    form: Form | None = st.session_state.get("form")
    if form is not None:
        _show_form(client, form)
    elif health is not None:
        _show_list(client)
    with st.sidebar:
        demo.show_encoder(health)


def _show_list(client: ApiClient) -> None:
    done = st.session_state.pop("done", None)
    if done:
        st.success(done, icon=":material/check_circle:")
    query = _list_query(client)
    page = None
    with demo.errors_shown():
        page = client.products(query)
    if page is None:
        return
    if page.total and not page.items:  # what was on the last page is gone
        _turn_to(_pages(page))
    _show_head(client, page)
    if not page.items:
        st.info("没有符合条件的商品。可以放宽左侧的筛选条件，或新增商品。")
    for product in page.items:
        _show_row(client, product)


def _show_head(client: ApiClient, page: ProductPage) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "新增商品",
            key="add",
            type="primary",
            icon=":material/add:",
            on_click=_open_form,
            args=(client,),
        )
        st.caption(f"共 {page.total} 件商品", width="content")
        if _pages(page) > 1:
            # A widget of its own for each page: the page is also turned from elsewhere.
            chosen = st.pagination(_pages(page), default=page.page, key=f"pages_{page.page}")
            if chosen != page.page:
                _turn_to(chosen)


def _list_query(client: ApiClient) -> ProductListQuery:
    """The sidebar's conditions; a change of them starts at the first page."""
    with st.sidebar:
        st.subheader("筛选与排序", anchor=False)
        labels = demo.labels_or_none(client)
        conditions: dict[str, Any] = {
            "q": _title_part(),
            "category": _label_input("分类", labels.categories, "list_category"),
            "brand": _label_input("品牌", labels.brands, "list_brand"),
            "index_status": _status_input(),
        }
        conditions["min_price"], conditions["max_price"] = demo.price_inputs("list")
        conditions["sort"] = st.selectbox(
            "排序",
            list(ListSort),
            format_func=SORT_NAMES.__getitem__,
            key="list_sort",
            filter_mode=None,
            persist_state="session",
        )
    if st.session_state.get("listed") != conditions:
        st.session_state["listed"] = conditions
        st.session_state["list_page"] = 1
    page = st.session_state.get("list_page", 1)
    # Not validated here: the API does it, and says in Chinese what is wrong.
    return ProductListQuery.model_construct(
        page=page, page_size=PAGE_SIZE, **demo.without_none(conditions)
    )


def _title_part() -> str | None:
    text = st.text_input(
        "标题包含", key="list_q", max_chars=MAX_TITLE, placeholder="不限", persist_state="session"
    )
    return text or None


def _label_input(label: str, known: list[str], key: str) -> str | None:
    chosen = st.selectbox(
        label,
        known,
        index=None,
        key=key,
        accept_new_options=True,
        placeholder="不限，可选可输入",
        persist_state="session",
    )
    return demo.as_label(chosen)


def _status_input() -> IndexStatus | None:
    return st.selectbox(
        "索引状态",
        list(IndexStatus),
        index=None,
        format_func=demo_html.STATUS_NAMES.__getitem__,
        key="list_status",
        placeholder="不限",
        filter_mode=None,
        persist_state="session",
    )


def _pages(page: ProductPage) -> int:
    return max(1, ceil(page.total / PAGE_SIZE))


def _turn_to(page: int) -> NoReturn:
    st.session_state["list_page"] = page
    st.rerun()


def _show_row(client: ApiClient, product: ProductOut) -> None:
    with st.container(border=True, key=f"row_{product.product_id}"):
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.html(demo_html.row_html(client, product))
        with right.container(horizontal=True, horizontal_alignment="right"):
            number = product.product_id
            st.button("编辑", key=f"edit_{number}", on_click=_open_form, args=(client, number))
            st.button("删除", key=f"delete_{number}", on_click=_ask_delete, args=(number,))
        if st.session_state.get("deleting") == product.product_id:
            _confirm_delete(client, product)


def _ask_delete(product_id: int | None) -> None:
    st.session_state["deleting"] = product_id


def _confirm_delete(client: ApiClient, product: ProductOut) -> None:
    st.warning(f"确认删除“{demo_html.plain(product.title)}”？删除后不能恢复。")
    with st.container(horizontal=True):
        confirmed = st.button("确认删除", key="confirm_delete", type="primary")
        st.button("取消", key="cancel_delete", on_click=_ask_delete, args=(None,))
    if confirmed:
        with demo.errors_shown():
            client.delete(product.product_id)
            st.session_state["deleting"] = None
            _finish(f"已删除“{demo_html.plain(product.title)}”，它不再出现在搜索结果里。")


def _finish(message: str) -> NoReturn:
    """Back to a fresh list that says what was done."""
    demo.known_labels.clear()
    st.session_state["form"] = None
    st.session_state["done"] = message
    st.rerun()


def _open_form(client: ApiClient, product_id: int | None = None) -> None:
    product = None
    if product_id is not None:
        with demo.errors_shown():
            product = client.product(product_id)
        if product is None:
            return
    st.session_state["deleting"] = None
    st.session_state["forms"] = st.session_state.get("forms", 0) + 1
    st.session_state["form"] = Form(st.session_state["forms"], product)


def _close_form() -> None:
    st.session_state["form"] = None


def _show_form(client: ApiClient, form: Form) -> None:
    st.button("返回列表", key="back", icon=":material/arrow_back:", on_click=_close_form)
    st.subheader("新增商品" if form.product is None else "编辑商品", anchor=False)
    left, right = st.columns([1, 2], gap="medium")
    with left:
        image, remove = _picture_inputs(client, form)
    # Enter in a field must not save half a product.
    with right, st.form(form.key("form"), enter_to_submit=False):
        typed = _field_inputs(form)
        if form.message:
            st.error(form.message, icon=":material/error:")
        if st.form_submit_button("保存", key=form.key("save"), type="primary"):
            _save(client, form, typed, image, remove)
            st.rerun()


def _picture_inputs(client: ApiClient, form: Form) -> tuple[bytes | None, bool]:
    """The new picture, and whether the present one shall go. Outside the form, for the preview."""
    product, remove = form.product, False
    present = product is not None and product.image_url is not None
    if product is not None and present:
        st.caption("现在的图片")
        st.html(f'<div class="ps-current">{demo_html.thumbnail_html(client, product, 256)}</div>')
    image = picture_input("换成新图片" if present else "图片", form.key("image"))
    if present and image is None:
        remove = st.checkbox("删除现在的图片", key=form.key("remove"))
    _show_error(form, "image")
    return image, remove


def _field_inputs(form: Form) -> dict[str, str]:
    """What is typed in each field, and under it what was wrong with it."""
    shown = _shown(form.product)
    typed = {"title": _line(form, shown, "title", MAX_TITLE, label="标题（必填）")}
    left, right = st.columns(2)
    with left:
        typed["sku"] = _line(form, shown, "sku", MAX_LABEL)
        typed["category"] = _line(form, shown, "category", MAX_LABEL)
    with right:
        typed["price"] = _line(form, shown, "price", 20, placeholder="例如：129.00")
        typed["brand"] = _line(form, shown, "brand", MAX_LABEL)
    for name, label, limit in (
        ("description", "描述", MAX_DESCRIPTION),
        ("attributes", "属性（JSON 对象）", None),
    ):
        typed[name] = st.text_area(
            label,
            shown[name],
            key=form.key(name),
            max_chars=limit,
            placeholder='例如：{"颜色": "红"}' if name == "attributes" else None,
        )
        _show_error(form, name)
    return typed


def _line(
    form: Form,
    shown: dict[str, str],
    name: str,
    limit: int,
    label: str | None = None,
    placeholder: str | None = None,
) -> str:
    text = st.text_input(
        label or demo.FIELD_NAMES[name],
        shown[name],
        key=form.key(name),
        max_chars=limit,
        placeholder=placeholder,
    )
    _show_error(form, name)
    return text


def _show_error(form: Form, name: str) -> None:
    if name in form.errors:
        st.markdown(f":red[{demo_html.plain(form.errors[name])}]")


def _shown(product: ProductOut | None) -> dict[str, str]:
    """The words that the fields start with."""
    if product is None:
        return dict.fromkeys(FIELDS, "")
    texts = {name: str(getattr(product, name) or "") for name in FIELDS}
    texts["price"] = "" if product.price is None else str(product.price)
    texts["attributes"] = (
        json.dumps(product.attributes, ensure_ascii=False, indent=2) if product.attributes else ""
    )
    return texts


def _save(
    client: ApiClient, form: Form, typed: dict[str, str], image: bytes | None, remove: bool
) -> None:
    """Send what was changed; on success back to the list, else the form keeps what was wrong."""
    form.errors, form.message = {}, None
    shown = _shown(form.product)
    # Compared as words: what nobody touched isn't sent, even where a box can't show it exactly.
    values = {
        name: _value(form, name, text)
        for name, text in typed.items()
        if form.product is None or text != shown[name]
    }
    if remove:
        values["image_base64"] = None
    if form.errors:
        form.message = TO_CORRECT
        return
    try:
        with st.spinner("正在保存并建立索引…"):
            product = _send(client, form, values, image)
    except ApiError as error:
        _place_errors(form, error)
    except (ApiUnreachable, ValueError) as error:
        form.message = demo.error_text(error)
    else:
        _finish(_saved_text(product))


def _send(client: ApiClient, form: Form, values: dict[str, Any], image: bytes | None) -> ProductOut:
    if form.product is None:
        # A title left empty is sent all the same: the API says what is wrong with it.
        return client.create(demo.without_none(values), image, wait=True)
    return client.update(form.product.product_id, values, image, wait=True)


def _value(form: Form, name: str, text: str) -> Any:
    """The field as the API takes it: as typed; a blank box is no value."""
    if name == "title":
        return text
    if is_blank(text):
        return None
    if name == "attributes":
        try:
            return demo.json_object(text)
        except ValueError as error:
            form.errors[name] = str(error)
    return text.strip() if name == "price" else text


def _place_errors(form: Form, error: ApiError) -> None:
    """Each reason to its field; what has no field on the page goes to the top."""
    if error.body.code in demo.PICTURE_ERRORS:
        form.errors["image"] = error.body.message
    elsewhere = not form.errors and not error.body.fields
    for name, reason in (error.body.fields or {}).items():
        place = name.partition(".")[0].removesuffix("_base64")
        if place in (*FIELDS, "image"):
            form.errors[place] = reason
        else:
            elsewhere = True
    form.message = demo.error_text(error) if elsewhere else TO_CORRECT


def _saved_text(product: ProductOut) -> str:
    title = demo_html.plain(product.title)
    if product.index_status is IndexStatus.indexed:
        return f"已保存“{title}”，现在可以搜索到它。"
    if product.index_status is IndexStatus.pending:
        return f"已保存“{title}”。索引还在建立，稍后即可搜索到它。"
    return f"已保存“{title}”，但建立索引失败：{demo_html.plain(product.index_error or '原因不明')}"


catalogue_page()
