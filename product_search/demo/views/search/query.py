"""The query of the search page: its inputs, its address, and the fields of its request."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import streamlit as st

from data_models import (
    MAX_PARTS,
    MAX_QUERY,
    PictureOfGeneration,
    SearchMode,
    SearchSort,
    is_blank,
)
from product_search.client import ApiClient
from product_search.demo.html import image_html, plain
from product_search.demo.image_input import Region, query_image
from product_search.demo.language import N_, _, option_name, widget_key
from product_search.demo.service import generated_image_url, product_title
from product_search.demo.views.search.attributes import attributes_in_address
from product_search.demo.views.search.understanding import AS_TYPED, kinds_as_typed

AUTO = "auto"
MODE_NAMES = {
    AUTO: N_("自动"),
    SearchMode.text_to_text: N_("以文搜文"),
    SearchMode.text_to_image: N_("以文搜图"),
    SearchMode.image_to_image: N_("以图搜图"),
    SearchMode.image_to_text: N_("以图搜文"),
}
MODE_NOTES = {
    AUTO: N_("输入文字、放入图片，或两样一起：按词、按意思、按图片同时找。"),
    SearchMode.text_to_text: N_("按标题找：输入文字，找标题意思相近的商品。"),
    SearchMode.text_to_image: N_("按图片内容找：输入文字，找图片里是这样东西的商品。"),
    SearchMode.image_to_image: N_("找相似图片：放入一张图片，找图片看起来相似的商品。"),
    SearchMode.image_to_text: N_("按标题匹配图片：放入一张图片，找标题与它相符的商品。"),
}
SORT_NAMES = {
    SearchSort.relevance: N_("最符合的在前"),
    SearchSort.price_asc: N_("价格从低到高"),
    SearchSort.price_desc: N_("价格从高到低"),
    SearchSort.newest: N_("最新的在前"),
}
EXAMPLE_QUERIES = ("露营要带的", "红色双肩包", "xigua", "不要无线的鼠标", "200元以内的礼物")
RESULT_COUNTS = [10, 20, 50, 100]
# Products that the results should be like, or not like: the address has them too.
LIKED, UNLIKED = "like", "unlike"
_UNLIKED_WEIGHT = -0.5
_MAX_DIGITS = 18  # of a number in the address: what is longer is none of ours
# Every widget of the page that the address keeps.
BOUND: dict[str, Any] = {"bind": "query-params", "persist_state": "session"}


def query_inputs(client: ApiClient) -> tuple[dict[str, Any] | None, bytes | None]:
    """Ask for the query.

    Returns:
        The request's fields, None where there is no query; and the uploaded image.
    """
    mode = _mode_input()
    st.caption(_(MODE_NOTES[mode]))
    takes_text = mode == AUTO or SearchMode(mode).takes_text
    takes_image = mode == AUTO or not SearchMode(mode).takes_text
    left, right = st.columns([3, 2], gap="medium") if takes_text and takes_image else [st] * 2
    text = image = region = generated = None
    if takes_text:
        with left.container():
            text = _text_input()
            _show_example_products(client)
    if takes_image:
        with right.container():
            generated = _generated_image()
            if generated is not None:
                _show_generated_image(client, generated)
            else:
                image, region = query_image()
    return _query_fields(mode, text, image, region, generated), image


def _mode_input() -> str:
    """Ask for AUTO or a SearchMode."""
    _take_from_address("mode", MODE_NAMES, AUTO)
    mode: str | None = st.segmented_control(
        _("搜索方式"),
        [str(mode) for mode in MODE_NAMES],
        required=True,
        format_func=partial(option_name, MODE_NAMES),
        key=widget_key("mode"),
        label_visibility="collapsed",
        persist_state="session",
    )
    return mode or AUTO


def _text_input() -> str | None:
    """Ask for the words to search for; Enter or the button searches again."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text: str = st.text_input(
            _("搜索词"),
            key="text",
            max_chars=MAX_QUERY,
            placeholder=_("例如：红色双肩包"),
            type="search",
            **BOUND,
        )
        pressed = st.button(_("搜索"), key="search", type="primary", icon=":material/search:")
    if not is_blank(text):
        return text
    if pressed:
        st.info(_("请先输入搜索词。"))
    return None


def show_example_queries() -> None:
    """Offer queries to begin with."""
    st.caption(_("试试这些："))
    with st.container(horizontal=True, key="examples"):
        for number, words in enumerate(EXAMPLE_QUERIES):
            st.button(words, key=f"example_{number}", on_click=search_for, args=(words,))


def search_for(words: str) -> None:
    """Put these words in the place of those that are searched for."""
    st.session_state["text"] = words


def order_inputs() -> tuple[SearchSort, int, bool]:
    """Ask for the order, how many results to show at once, and whether only what fits."""
    _take_from_address("sort", SORT_NAMES, str(SearchSort.relevance))
    sort = st.selectbox(
        _("排序"),
        [str(sort) for sort in SORT_NAMES],
        format_func=partial(option_name, SORT_NAMES),
        key=widget_key("sort"),
        filter_mode=None,
        persist_state="session",
    )
    top_k = st.selectbox(_("结果数量"), RESULT_COUNTS, key="top_k", filter_mode=None, **BOUND)
    only_fitting = st.toggle(
        _("只看符合的"),
        value=True,
        key="only_fitting",
        help=_("关闭后也列出不大符合的，由近到远"),
        **BOUND,
    )
    return SearchSort(sort), top_k, only_fitting


def example_ids(kind: str) -> list[int]:
    """Return the product_ids of LIKED or UNLIKED, in the order in which they came."""
    if kind not in st.session_state:
        given = st.query_params.get(kind, "").split(",")
        known = {int(one) for one in given if one.isdecimal() and len(one) <= _MAX_DIGITS}
        others = st.session_state.get(UNLIKED if kind == LIKED else LIKED, [])
        st.session_state[kind] = sorted(known.difference(others))[: MAX_PARTS // 2]
    found: list[int] = st.session_state[kind]
    return found


def add_example(kind: str, product_id: int) -> None:
    """Make a product an example of what is wanted or not, and no longer of the other."""
    for one in (LIKED, UNLIKED):
        kept = [known for known in example_ids(one) if known != product_id]
        st.session_state[one] = [*kept, product_id][-MAX_PARTS // 2 :] if one == kind else kept
    st.session_state[widget_key("mode")] = AUTO


def _drop_example(kind: str, product_id: int) -> None:
    """Take a product out of the examples."""
    st.session_state[kind] = [one for one in example_ids(kind) if one != product_id]


def _show_example_products(client: ApiClient) -> None:
    """Show the products that the query is composed of; a click takes a product out."""
    names = {LIKED: _("像"), UNLIKED: _("不像")}
    icons = {LIKED: ":material/thumb_up:", UNLIKED: ":material/thumb_down:"}
    chosen = [(kind, one) for kind in names for one in example_ids(kind)]
    if not chosen:
        return
    with st.container(horizontal=True, key="composed"):
        for kind, product_id in chosen:
            title = product_title(client, product_id) or f"#{product_id}"
            st.button(
                f"{names[kind]} {plain(title[:14])} ✕",
                key=f"drop_{kind}_{product_id}",
                icon=icons[kind],
                help=_("从查询里去掉"),
                on_click=_drop_example,
                args=(kind, product_id),
            )


def _generated_image() -> PictureOfGeneration | None:
    """Return the generated image to search by; the address has it as `generation=12-1`."""
    if "generation" not in st.session_state:
        given = st.query_params.get("generation", "")
        number, _dash, place = given.partition("-")
        try:
            chosen = PictureOfGeneration(generation_id=int(number), number=int(place))
        except ValueError:  # pydantic's too: anybody can write an address
            chosen = None
        st.session_state["generation"] = chosen
    found: PictureOfGeneration | None = st.session_state["generation"]
    return found


def _generated_name(image: PictureOfGeneration | None) -> str:
    return f"{image.generation_id}-{image.number}" if image else ""


def _show_generated_image(client: ApiClient, image: PictureOfGeneration) -> None:
    """Show the generated image in place of an uploader; a click takes it out."""
    name = "drop_generated"
    st.button(_("移除图片"), key=name, icon=":material/close:", on_click=_drop_generated)
    url = generated_image_url(client, image, 512)
    with st.container(key="generated_query"):
        st.html(image_html(url, _("生成的图片"), is_generated=True))


def _drop_generated() -> None:
    st.session_state["generation"] = None


def _query_fields(
    mode: str,
    text: str | None,
    image: bytes | None,
    region: Region | None,
    generated: PictureOfGeneration | None,
) -> dict[str, Any] | None:
    """Return the request's fields but for an uploaded image; None where there is no query."""
    has_image = image is not None or generated is not None
    by_image = {"region": region, "generation": generated and generated.model_dump()}
    if mode != AUTO:
        if SearchMode(mode).takes_text:
            return None if text is None else {"mode": mode, "text": text}
        return {"mode": mode, **by_image} if has_image else None
    parts = [{"product_id": one, "weight": 1.0} for one in example_ids(LIKED)]
    parts += [{"product_id": one, "weight": _UNLIKED_WEIGHT} for one in example_ids(UNLIKED)]
    if text is None and not has_image and not example_ids(LIKED):
        return None
    is_composed = bool(parts) or (text is not None and has_image)
    return {
        "mode": SearchMode.hybrid if is_composed else None,
        "text": text,
        "parts": parts or None,
        **by_image,
    }


def _take_from_address(name: str, known: Collection[str], default: str) -> None:
    """Set a widget whose options are shown in either language by the value in the address."""
    given = st.query_params.get(name, default)
    st.session_state.setdefault(widget_key(name), given if given in known else default)


def keep_in_address(text: str | None, offset: int) -> None:
    """Keep in the address what no widget keeps there by itself, but for defaults."""
    values = {
        "mode": st.session_state[widget_key("mode")].removeprefix(AUTO),
        "sort": st.session_state[widget_key("sort")].removeprefix(SearchSort.relevance),
        "offset": str(offset or ""),
        **{kind: ",".join(map(str, example_ids(kind))) for kind in (LIKED, UNLIKED)},
        "generation": _generated_name(_generated_image()),
        AS_TYPED: ",".join(kinds_as_typed(text)),
        "attributes": attributes_in_address(),
    }
    for name, value in values.items():
        if value:
            if st.query_params.get(name) != value:
                st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]
