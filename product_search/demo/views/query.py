"""What is asked on the search page: its widgets, its address, and the request to the API."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import streamlit as st

from data_models import (
    MAX_PARTS,
    MAX_QUERY,
    FacetCount,
    PictureOfGeneration,
    SearchMode,
    SearchSort,
    is_blank,
)
from product_search.client import ApiClient
from product_search.demo.html import image_html, plain
from product_search.demo.image_input import Region
from product_search.demo.inputs import label_or_none, price_inputs, without_none
from product_search.demo.language import N_, _, option_name, widget_key
from product_search.demo.service import labels_or_none, product_title

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
EXAMPLES = ("露营要带的", "红色双肩包", "xigua", "不要无线的鼠标", "送长辈的礼物")
RESULT_COUNTS = [10, 20, 50, 100]
# Products that the results should be like, or not like: the address has them too.
LIKED, UNLIKED = "like", "unlike"
_UNLIKED_WEIGHT = -0.5
_MAX_DIGITS = 18  # of a number in the address: what is longer is none of ours
# Every widget of the page that the address keeps.
_BOUND: dict[str, Any] = {"bind": "query-params", "persist_state": "session"}


def mode_input() -> str:
    """AUTO or a SearchMode."""
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


def text_input() -> str | None:
    """The words to search for; Enter or the button asks again."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text: str = st.text_input(
            _("搜索词"),
            key="text",
            max_chars=MAX_QUERY,
            placeholder=_("例如：红色双肩包"),
            type="search",
            **_BOUND,
        )
        pressed = st.button(_("搜索"), key="search", type="primary", icon=":material/search:")
    if not is_blank(text):
        return text
    if pressed:
        st.info(_("请先输入搜索词。"))
    return None


def show_examples() -> None:
    """Queries to begin with."""
    st.caption(_("试试这些："))
    with st.container(horizontal=True, key="examples"):
        for number, words in enumerate(EXAMPLES):
            st.button(words, key=f"example_{number}", on_click=_ask, args=(words,))


def _ask(words: str) -> None:
    st.session_state["text"] = words


def filter_inputs(client: ApiClient) -> dict[str, Any]:
    """The filters as the API takes them."""
    st.subheader(_("筛选"), anchor=False)
    labels = labels_or_none(client)
    category = _label_input(_("分类"), labels.categories, "category")
    brand = _label_input(_("品牌"), labels.brands, "brand")
    low, high = price_inputs("filter")
    has_image = st.toggle(_("只看有图片的"), key="has_image", **_BOUND)
    price = without_none({"gte": _amount(low), "lte": _amount(high)})
    return without_none(
        {
            "category": category or None,
            "brand": brand or None,
            "price": price or None,
            "has_image": has_image or None,
        }
    )


def _label_input(label: str, known: list[str], name: str) -> list[str]:
    chosen = st.multiselect(
        label,
        known,
        key=name,
        accept_new_options=True,
        placeholder=_("不限，可选可输入"),
        **_BOUND,
    )
    return [value for value in map(label_or_none, chosen) if value is not None]


def _amount(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def order_inputs() -> tuple[SearchSort, int, bool]:
    """The order, how many results at once, and whether only what fits is shown."""
    _take_from_address("sort", SORT_NAMES, str(SearchSort.relevance))
    sort = st.selectbox(
        _("排序"),
        [str(sort) for sort in SORT_NAMES],
        format_func=partial(option_name, SORT_NAMES),
        key=widget_key("sort"),
        filter_mode=None,
        persist_state="session",
    )
    top_k = st.selectbox(_("结果数量"), RESULT_COUNTS, key="top_k", filter_mode=None, **_BOUND)
    only_fitting = st.toggle(
        _("只看符合的"),
        value=True,
        key="only_fitting",
        help=_("关闭后也列出不大符合的，由近到远"),
        **_BOUND,
    )
    return SearchSort(sort), top_k, only_fitting


def show_facet(label: str, name: str, counts: Sequence[FacetCount]) -> None:
    """The values that the results have; a click filters by one."""
    chosen = st.session_state.get(name, [])
    offered = [one for one in counts if one.value not in chosen][:8]
    if len(offered) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"facet_{name}"):
        st.caption(label, width="content")
        for one in offered:
            text = f"{plain(one.value)} {one.count}"
            st.button(
                text,
                key=f"facet_{name}_{one.value}",
                type="tertiary",
                on_click=_filter_by,
                args=(name, one.value),
            )


def _filter_by(name: str, value: str) -> None:
    st.session_state[name] = [*st.session_state.get(name, []), value]


def examples(kind: str) -> list[int]:
    """The product_ids of LIKED or UNLIKED, in the order in which they came."""
    if kind not in st.session_state:
        given = st.query_params.get(kind, "").split(",")
        known = {int(one) for one in given if one.isdecimal() and len(one) <= _MAX_DIGITS}
        others = st.session_state.get(UNLIKED if kind == LIKED else LIKED, [])
        st.session_state[kind] = sorted(known.difference(others))[: MAX_PARTS // 2]
    found: list[int] = st.session_state[kind]
    return found


def add_example(kind: str, product_id: int) -> None:
    """A product becomes an example of what is wanted, or not wanted; the other is forgotten."""
    for one in (LIKED, UNLIKED):
        kept = [known for known in examples(one) if known != product_id]
        st.session_state[one] = [*kept, product_id][-MAX_PARTS // 2 :] if one == kind else kept
    st.session_state[widget_key("mode")] = AUTO


def drop_example(kind: str, product_id: int) -> None:
    """The product is no example any more."""
    st.session_state[kind] = [one for one in examples(kind) if one != product_id]


def show_examples_chosen(client: ApiClient) -> None:
    """The products that the query is composed of; a click takes one out."""
    names = {LIKED: _("像"), UNLIKED: _("不像")}
    icons = {LIKED: ":material/thumb_up:", UNLIKED: ":material/thumb_down:"}
    chosen = [(kind, one) for kind in names for one in examples(kind)]
    if not chosen:
        return
    with st.container(horizontal=True, key="composed"):
        for kind, product_id in chosen:
            title = product_title(client.base_url, product_id) or f"#{product_id}"
            st.button(
                f"{names[kind]} {plain(title[:14])} ✕",
                key=f"drop_{kind}_{product_id}",
                icon=icons[kind],
                help=_("从查询里去掉"),
                on_click=drop_example,
                args=(kind, product_id),
            )


def generated() -> PictureOfGeneration | None:
    """The generated image that the query is; the address has it as `generation=12-1`."""
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


def _image_name(picture: PictureOfGeneration | None) -> str:
    return f"{picture.generation_id}-{picture.number}" if picture else ""


def show_generated(client: ApiClient, picture: PictureOfGeneration) -> None:
    """The generated image in the place of an uploaded one; a click takes it out."""
    name = "drop_generated"
    st.button(_("移除图片"), key=name, icon=":material/close:", on_click=_drop_generated)
    url = client.generated_image_url(picture, 512)
    with st.container(key="generated_query"):
        st.html(image_html(url, _("生成的图片"), is_generated=True))


def _drop_generated() -> None:
    st.session_state["generation"] = None


def request(
    mode: str,
    text: str | None,
    image: bytes | None,
    region: Region | None,
    generated: PictureOfGeneration | None,
) -> dict[str, Any] | None:
    """The query of the request, without an uploaded image; None where nothing is asked for."""
    has_picture = image is not None or generated is not None
    picture = {"region": region, "generation": generated and generated.model_dump()}
    if mode != AUTO:
        if SearchMode(mode).takes_text:
            return None if text is None else {"mode": mode, "text": text}
        return {"mode": mode, **picture} if has_picture else None
    parts = [{"product_id": one, "weight": 1.0} for one in examples(LIKED)]
    parts += [{"product_id": one, "weight": _UNLIKED_WEIGHT} for one in examples(UNLIKED)]
    if text is None and not has_picture and not examples(LIKED):
        return None
    is_composed = bool(parts) or (text is not None and has_picture)
    return {
        "mode": SearchMode.hybrid if is_composed else None,
        "text": text,
        "parts": parts or None,
        **picture,
    }


def _take_from_address(name: str, known: Collection[str], default: str) -> None:
    """Of widgets whose options are shown in either language, the address keeps the value."""
    given = st.query_params.get(name, default)
    st.session_state.setdefault(widget_key(name), given if given in known else default)


def keep_in_address(offset: int) -> None:
    """What no widget keeps there by itself; what is as it always is is taken out."""
    values = {
        "mode": st.session_state[widget_key("mode")].removeprefix(AUTO),
        "sort": st.session_state[widget_key("sort")].removeprefix(SearchSort.relevance),
        "offset": str(offset or ""),
        **{kind: ",".join(map(str, examples(kind))) for kind in (LIKED, UNLIKED)},
        "generation": _image_name(generated()),
    }
    for name, value in values.items():
        if value:
            if st.query_params.get(name) != value:
                st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]
