"""The form of one product, new or known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from data_models import (
    MAX_DESCRIPTION,
    MAX_LABEL,
    MAX_TITLE,
    IndexStatus,
    ProductCreated,
    ProductOut,
    TitlesResponse,
    is_blank,
)
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo import html
from product_search.demo.errors import FIELD_NAMES, IMAGE_ERRORS, error_text, show_errors
from product_search.demo.image_input import IMAGE_TYPES, MAX_MB, ImageInput
from product_search.demo.inputs import json_object, without_none
from product_search.demo.language import N_, _
from product_search.demo.navigation import open_generator
from product_search.demo.operators import may
from product_search.demo.sign_in import allows
from product_search.demo.views.catalog.state import Notice, close_form, finish

TO_CORRECT = N_("尚未保存：请修改标红的字段。")
FIELDS = ("title", "sku", "category", "brand", "price", "description", "attributes", "group")


@dataclass
class Form:
    """Open form: the product it edits (None: a new one), and what goes with it."""

    number: int
    product: ProductOut | None
    image: ImageInput | None = None
    titles: TitlesResponse | None = None
    replaced_title: str | None = None
    errors: dict[str, str] = field(default_factory=dict)
    message: str | None = None

    def key(self, name: str) -> str:
        """Return a widget key of this form, so that none starts with another's words."""
        return f"form{self.number}_{name}"

    @property
    def has_own_image(self) -> bool:
        """Tell whether the product has an image already."""
        return self.product is not None and self.product.image_url is not None


def current_form() -> Form | None:
    """Return the open form, if any."""
    form: Form | None = st.session_state.get("form")
    return form


def open_form_of_address(client: ApiClient) -> None:
    """Open the form of the product that the address names, unless it is open already."""
    given = st.query_params.get("product")
    form = current_form()
    known = str(form.product.product_id) if form is not None and form.product else None
    if given is None or given == known:
        return
    if given.isdecimal() and len(given) < 20:
        open_form(client, int(given))
        return
    close_form()
    unknown = _("没有编号为“{given}”的商品。").format(given=html.plain(given[:40]))
    st.session_state["notice"] = Notice(unknown, is_error=True)


def open_form(client: ApiClient, product_id: int | None = None) -> None:
    """Open the form of a product, or of a new one; a notice says why where that fails.

    The address then names the product. It keeps one that the API can't give now: its form opens
    once the API is back.
    """
    product = None
    if product_id is not None:
        try:
            product = client.get_product(product_id)
        except (ApiUnreachable, ApiError, ValueError) as error:
            st.session_state["notice"] = Notice(error_text(error), is_error=True)
            if isinstance(error, ApiError):
                close_form()
            return
    close_form()
    for name in ("notice", "deleting", "bulk"):
        st.session_state[name] = None
    st.session_state["forms"] = st.session_state.get("forms", 0) + 1
    form = Form(st.session_state["forms"], product)
    for name, text in _initial_texts(product).items():
        st.session_state[form.key(name)] = text
    st.session_state["form"] = form
    if product is not None:
        st.query_params["product"] = str(product.product_id)


def show_form(client: ApiClient, form: Form) -> None:
    """Show the form, until it is saved or closed; only to be read where nothing may be changed."""
    if st.button(_("返回列表"), key="back", icon=":material/arrow_back:", type="tertiary"):
        close_form()
        st.rerun()
    if not may("update_product"):
        _show_to_read(client, form)
        return
    st.subheader(_("新增商品") if form.product is None else _("编辑商品"), anchor=False)
    left, right = st.columns([2, 3], gap="large")
    with left:
        remove = _image_inputs(client, form)
        _show_titles(client, form, remove)
    with right:
        typed = _field_inputs(form)
        if form.message:
            st.error(form.message, icon=":material/error:")
        if st.button(_("保存"), key=form.key("save"), type="primary", icon=":material/check:"):
            _save(client, form, typed, remove)
            st.rerun(scope="app")


def _show_to_read(client: ApiClient, form: Form) -> None:
    st.subheader(_("商品"), anchor=False)
    allows("update_product", _("保存改动"))
    left, right = st.columns([2, 3], gap="large")
    with left:
        _show_current_image(client, form)
    with right:
        _field_inputs(form)


def _image_inputs(client: ApiClient, form: Form) -> bool:
    """Ask for the image that will be saved; True where the present one shall go."""
    remove = False
    if form.image is not None:
        st.html(html.preview_html(form.image.content, form.image.name))
        st.button(
            _("移除图片"),
            key=form.key("drop"),
            icon=":material/close:",
            on_click=_set_image,
            args=(form, None),
        )
    else:
        if form.has_own_image:
            _show_current_image(client, form)
            remove = st.checkbox(
                _("删除现在的图片"), key=form.key("remove"), persist_state="session"
            )
        if form.product is not None:
            label, icon = _("生成图片…"), ":material/auto_awesome:"
            if st.button(label, key=form.key("generate"), icon=icon, type="tertiary"):
                open_generator(form.product.product_id)
        label = _("换成新图片") if form.has_own_image else _("图片")
        key = form.key("image")
        st.file_uploader(
            label,
            type=IMAGE_TYPES,
            key=key,
            on_change=_set_upload,
            args=(form, key),
            max_upload_size=MAX_MB,
        )
    _show_error(form, "image")
    return remove


def _show_current_image(client: ApiClient, form: Form) -> None:
    if form.product is not None:
        current = html.thumbnail_html(client, form.product, 256)
        st.html(f'<div class="ps-current">{current}</div>')


def _set_upload(form: Form, key: str) -> None:
    upload = st.session_state[key]
    if upload is not None:
        _set_image(form, ImageInput.of(upload))


def _set_image(form: Form, image: ImageInput | None) -> None:
    """Keep the image, which an uploader forgets on other pages, and drop the titles of another."""
    form.image, form.titles = image, None
    form.errors.pop("image", None)


def _show_titles(client: ApiClient, form: Form, remove: bool) -> None:
    """Suggest titles for the image that will be saved, each to be taken by a click."""
    if form.image is None and (remove or not form.has_own_image):
        return
    label, icon = _("为图片推荐标题"), ":material/auto_awesome:"
    if st.button(label, key=form.key("suggest"), icon=icon):
        with show_errors(), st.spinner(_("正在看图…")):
            form.titles = _suggest_titles(client, form)
    answer = form.titles
    if answer is None:
        return
    if answer.suggestion is None and not answer.titles:
        st.caption(_("没有与这张图片相近的标题，请自己拟一个。"))
        return
    with st.container(key=form.key("titles"), gap="xsmall"):
        st.caption(_("点击即填入标题："))
        if answer.suggestion is not None:
            best = _("推荐")
            _title_button(form, "suggested", answer.suggestion.title, f":green-badge[{best}]")
        for number, hit in enumerate(answer.titles):
            share = "" if hit.confidence is None else f":gray-badge[{hit.confidence:.0%}]"
            _title_button(form, str(number), hit.title, share)


def _suggest_titles(client: ApiClient, form: Form) -> TitlesResponse:
    if form.image is not None:
        return client.suggest_titles(form.image.content)
    return client.suggest_titles(product_id=form.product.product_id if form.product else None)


def _title_button(form: Form, name: str, title: str, mark: str) -> None:
    st.button(
        f"{html.plain(title)} {mark}",
        key=form.key(f"title_{name}"),
        type="tertiary",
        on_click=_set_title,
        args=(form, title),
    )


def _set_title(form: Form, title: str) -> None:
    """Put a title into its box; the words that stood there can be had back."""
    key = form.key("title")
    typed: str = st.session_state[key]
    form.replaced_title = None if is_blank(typed) or typed == title else typed
    st.session_state[key] = title


def _field_inputs(form: Form) -> dict[str, str]:
    """Ask for each field, and show under it what was wrong with it."""
    typed = {"title": _line_input(form, "title", MAX_TITLE, label=_("标题（必填）"))}
    if form.replaced_title is not None:
        label = _("恢复“{title}”").format(title=html.plain(form.replaced_title))
        st.button(
            label,
            key=form.key("restore"),
            type="tertiary",
            icon=":material/undo:",
            on_click=_set_title,
            args=(form, form.replaced_title),
        )
    left, right = st.columns(2)
    with left:
        typed["price"] = _line_input(form, "price", 20, placeholder=_("例如：129.00"))
        typed["category"] = _line_input(form, "category", MAX_LABEL)
        typed["group"] = _line_input(form, "group", MAX_LABEL, placeholder=_("同款共有的编号"))
    with right:
        typed["sku"] = _line_input(form, "sku", MAX_LABEL)
        typed["brand"] = _line_input(form, "brand", MAX_LABEL)
    typed["description"] = _area_input(form, "description", _("描述"), MAX_DESCRIPTION)
    example = _('例如：{"颜色": "红"}')
    typed["attributes"] = _area_input(form, "attributes", _("属性（JSON 对象）"), None, example)
    return typed


def _line_input(
    form: Form,
    name: str,
    limit: int,
    label: str | None = None,
    placeholder: str | None = None,
) -> str:
    text = st.text_input(
        label or _(FIELD_NAMES[name]),
        key=form.key(name),
        max_chars=limit,
        placeholder=placeholder,
        persist_state="session",
        disabled=not may("update_product"),
    )
    _show_error(form, name)
    return text


def _area_input(
    form: Form, name: str, label: str, limit: int | None, placeholder: str | None = None
) -> str:
    text = st.text_area(
        label,
        key=form.key(name),
        max_chars=limit,
        placeholder=placeholder,
        persist_state="session",
        disabled=not may("update_product"),
    )
    _show_error(form, name)
    return text


def _show_error(form: Form, name: str) -> None:
    if name in form.errors:
        st.markdown(f":red[{html.plain(form.errors[name])}]")


def _initial_texts(product: ProductOut | None) -> dict[str, str]:
    """Return the text that each field starts with."""
    if product is None:
        return dict.fromkeys(FIELDS, "")
    texts = {name: str(getattr(product, name) or "") for name in FIELDS}
    texts["price"] = "" if product.price is None else str(product.price)
    texts["attributes"] = (
        json.dumps(product.attributes, ensure_ascii=False, indent=2) if product.attributes else ""
    )
    return texts


def _save(client: ApiClient, form: Form, typed: dict[str, str], remove: bool) -> None:
    """Send what was changed; go back to the list, or keep in the form what was wrong."""
    form.errors, form.message = {}, None
    initial = _initial_texts(form.product)
    # Compared as words: what nobody touched isn't sent, even where a box can't show it exactly.
    values = {
        name: _value(form, name, text)
        for name, text in typed.items()
        if form.product is None or text != initial[name]
    }
    if remove:
        values["image_base64"] = None
    if form.errors:
        form.message = _(TO_CORRECT)
        return
    try:
        with st.spinner(_("正在保存并建立索引…")):
            product = _send(client, form, values)
    except ApiError as error:
        _place_errors(form, error)
    except (ApiUnreachable, ValueError) as error:
        form.message = error_text(error)
    else:
        same = product.duplicates if isinstance(product, ProductCreated) else []
        finish(Notice(_saved_text(product), duplicates=tuple(same)))


def _send(client: ApiClient, form: Form, values: dict[str, Any]) -> ProductOut:
    image = form.image.content if form.image is not None else None
    if form.product is None:
        # A title left empty is sent all the same: the API says what is wrong with it.
        return client.create_product(without_none(values), image, wait=True)
    return client.update_product(form.product.product_id, values, image, wait=True)


def _value(form: Form, name: str, text: str) -> Any:
    """Return the field as the API takes it: as typed; a blank box is no value."""
    if name == "title":
        return text
    if is_blank(text):
        return None
    if name == "attributes":
        try:
            return json_object(text)
        except ValueError as error:
            form.errors[name] = str(error)
    return text.strip() if name == "price" else text


def _place_errors(form: Form, error: ApiError) -> None:
    """Put each reason to its field; what has no field on the page goes to the top."""
    if error.body.code in IMAGE_ERRORS:
        form.errors["image"] = error.body.message
    elsewhere = not form.errors and not error.body.fields
    for name, reason in (error.body.fields or {}).items():
        place = name.partition(".")[0].removesuffix("_base64")
        if place in (*FIELDS, "image"):
            form.errors[place] = reason
        else:
            elsewhere = True
    form.message = error_text(error) if elsewhere else _(TO_CORRECT)


def _saved_text(product: ProductOut) -> str:
    title = html.plain(html.shorten(product.title))
    if product.index_status is IndexStatus.indexed:
        return _("已保存“{title}”，现在可以搜索到它。").format(title=title)
    if product.index_status is IndexStatus.pending:
        return _("已保存“{title}”。索引还在建立，稍后即可搜索到它。").format(title=title)
    failed = _("已保存“{title}”，但建立索引失败：{reason}")
    reason = html.plain(product.index_error or _("原因不明"))
    return failed.format(title=title, reason=reason)
