"""What a generation is asked for: the product, the words, the style and the settings."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any, TypeVar

import streamlit as st

from data_models import MAX_GENERATED, MAX_QUERY, GenerationStyle, ProductOut, is_blank
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo import html
from product_search.demo.errors import error_text, show_errors
from product_search.demo.inputs import without_none
from product_search.demo.language import N_, _, option_name, widget_key
from product_search.demo.sign_in import allows
from product_search.demo.views.generations import show_only

STYLES = {
    GenerationStyle.main: N_("白底主图"),
    GenerationStyle.scene: N_("场景图"),
    GenerationStyle.detail: N_("细节图"),
    GenerationStyle.poster: N_("海报"),
}
SIZES = {
    size: size.replace("x", " × ")
    for size in ("512x512", "768x768", "1024x1024", "512x768", "768x512", "256x256")
}
Number = TypeVar("Number", int, float)


def show_form(client: ApiClient, *, is_busy: bool) -> None:
    """Show the form, whose button enqueues a generation unless another is under way."""
    if not allows("generate", _("生成图片")):
        return
    product = _product_input(client)
    values = _wish_inputs(product) | _setting_inputs()
    pressed = st.button(
        _("正在生成…") if is_busy else _("开始生成"),
        key="generate",
        type="primary",
        icon=":material/auto_awesome:",
        disabled=is_busy,
    )
    if not pressed:
        return
    if "prompt" not in values and "product_id" not in values:
        st.info(_("请先写下想要的图片。"))
        return
    try:
        accepted = client.generate(values)
    except (ApiUnreachable, ApiError, ValueError) as error:
        st.session_state["generation_problem"] = error_text(error)
    else:
        show_only(accepted.generation_id)
    st.rerun()


def _wish_inputs(product: ProductOut | None) -> dict[str, Any]:
    """Ask for the words and the style; return with the product what is given."""
    words = st.text_area(
        _("想要的图片") if product is None else _("还要怎样（可不填）"),
        key="generation_prompt",
        height=120,
        max_chars=MAX_QUERY,
        placeholder=_("例如：红色双肩包，皮革，放在木桌上"),
        persist_state="session",
    )
    style = st.pills(
        _("风格"),
        list(STYLES),
        default=GenerationStyle.main,
        format_func=partial(option_name, STYLES),
        key=widget_key("generation_style"),
        wrap=True,
        persist_state="session",
    )
    return without_none(
        {
            "prompt": None if is_blank(words) else words,
            "style": style,
            "product_id": product and product.product_id,
        }
    )


def _setting_inputs() -> dict[str, Any]:
    """Ask for the settings that most people leave as they are; return what is given."""
    with st.expander(_("更多"), icon=":material/tune:", key="more"):
        negative = st.text_input(
            _("不要出现的"),
            key="generation_negative",
            max_chars=MAX_QUERY,
            placeholder=_("例如：文字、水印、人"),
            persist_state="session",
        )
        left, right = st.columns(2, wrap=False)
        with left:
            width, height = _size_input()
            steps = _number_input(_("步数"), "steps", 1, 100, 1)
        with right:
            n = st.selectbox(
                _("张数"),
                range(1, MAX_GENERATED + 1),
                key="generation_n",
                filter_mode=None,
                persist_state="session",
            )
            guidance = _number_input(_("贴近文字的程度"), "guidance", 0.0, 20.0, 0.5)
        seed = _number_input(_("种子"), "seed", 0, 2**32 - 1, 1)
        st.caption(_("同样的设置与种子，生成同样的图片。"))
    return without_none(
        {
            "negative_prompt": None if is_blank(negative) else negative,
            "width": width,
            "height": height,
            "n": n,
            "steps": steps,
            "guidance": guidance,
            "seed": seed,
        }
    )


def _size_input() -> tuple[int, int]:
    size = st.selectbox(
        _("尺寸"),
        list(SIZES),
        format_func=SIZES.__getitem__,
        key="generation_size",
        filter_mode=None,
        persist_state="session",
    )
    width, height = size.split("x")
    return int(width), int(height)


def _number_input(
    label: str, name: str, least: Number, most: Number, step: Number
) -> Number | None:
    value: Number | None = st.number_input(
        label,
        min_value=least,
        max_value=most,
        value=None,
        step=step,
        placeholder=_("自动"),
        key=f"generation_{name}",
        persist_state="session",
    )
    return value


# The product


def _product_input(client: ApiClient) -> ProductOut | None:
    """Show the product to generate an image for: that of the address, else the last one."""
    given = st.query_params.get("product")
    if given is not None:
        is_number = given.isdecimal() and len(given) < 20
        st.session_state["generation_product"] = int(given) if is_number else None
    product_id: int | None = st.session_state.get("generation_product")
    if product_id is None:
        return None
    st.query_params["product"] = str(product_id)
    product = None
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key="of_product"):
        with show_errors():
            product = client.get_product(product_id)
            st.html(_product_html(client, product))
        st.button(
            _("移除"),
            key="drop_product",
            icon=":material/close:",
            type="tertiary",
            on_click=_drop_product,
        )
    return product


def _product_html(client: ApiClient, product: ProductOut) -> str:
    note = _("按它的标题、分类与属性生成")
    return (
        f'<div class="ps-row"><div class="ps-cells">'
        f"{html.thumbnail_html(client, product, 128)}"
        f'<div><div class="ps-title">{escape(product.title)}</div>'
        f'<div class="ps-sub">{note}</div></div></div></div>'
    )


def _drop_product() -> None:
    st.session_state["generation_product"] = None
    st.query_params.pop("product", None)
