"""Front page of the demo: navigation, and the search page.

Started with `streamlit run web_demo.py --server.port=6006`; it needs the API, nothing else.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import streamlit as st

from data_models import MAX_OFFSET, MAX_QUERY, SearchMode, SearchResponse, is_blank
from product_search import demo
from product_search.api_client import ApiClient

MODE_NAMES = {
    SearchMode.hybrid: "综合",
    SearchMode.text_to_text: "以文搜文",
    SearchMode.text_to_image: "以文搜图",
    SearchMode.image_to_image: "以图搜图",
    SearchMode.image_to_text: "以图搜文",
}
MODE_NOTES = {
    SearchMode.hybrid: "按词、按意思、按图片同时找：输入文字、上传图片，或两样一起。",
    SearchMode.text_to_text: "按标题找：输入文字，找标题意思相近的商品。",
    SearchMode.text_to_image: "按图片内容找：输入文字，找图片里是这样东西的商品。",
    SearchMode.image_to_image: "找相似图片：上传一张图片，找图片看起来相似的商品。",
    SearchMode.image_to_text: "按标题匹配图片：上传一张图片，找标题与它相符的商品。",
}
RESULT_COUNTS = [10, 20, 50, 100]


def search_page() -> None:
    """Words or a picture in, product cards out."""
    demo.show_style()
    client = demo.open_client()
    st.title("搜索商品", anchor=False)
    health = demo.show_service(client)
    with st.sidebar:
        filters, top_k = _filter_inputs(client)
        only_fitting = st.toggle(
            "只看符合的", value=True, key="only_fitting", help="关闭后也列出不大符合的，由近到远"
        )
        demo.show_encoder(health)
    mode = st.segmented_control(
        "搜索方式",
        list(MODE_NAMES),
        default=SearchMode.hybrid,
        required=True,
        format_func=MODE_NAMES.__getitem__,
        key="mode",
        persist_state="session",
    )
    st.caption(MODE_NOTES[mode])
    is_hybrid = mode is SearchMode.hybrid
    text = _text_input() if mode.takes_text or is_hybrid else None
    image = None if mode.takes_text else demo.picture_input("查询图片", "image")
    if health is None or (text is None and image is None):
        return
    asked: dict[str, Any] = {
        "mode": mode,
        "text": text,
        "image": image,
        "top_k": top_k,
        "filters": filters,
        "min_confidence": None if only_fitting else 0,
    }
    offset = _offset(asked)
    with demo.errors_shown(), st.spinner("正在搜索…"):
        _show_answer(client, client.search(**asked, offset=offset), offset, top_k)


def _filter_inputs(client: ApiClient) -> tuple[dict[str, Any], int]:
    """The filters as the API takes them, and the number of results."""
    st.subheader("筛选", anchor=False)
    labels = demo.labels_or_none(client)
    category = _label_input("分类", labels.categories, "filter_category")
    brand = _label_input("品牌", labels.brands, "filter_brand")
    low, high = demo.price_inputs("filter")
    top_k = st.selectbox(
        "结果数量", RESULT_COUNTS, key="top_k", filter_mode=None, persist_state="session"
    )
    price = demo.without_none({"gte": _amount(low), "lte": _amount(high)})
    filters = {"category": category or None, "brand": brand or None, "price": price or None}
    return demo.without_none(filters), top_k


def _label_input(label: str, known: list[str], key: str) -> list[str]:
    chosen = st.multiselect(
        label,
        known,
        key=key,
        accept_new_options=True,
        placeholder="不限，可选可输入",
        persist_state="session",
    )
    return [value for value in map(demo.as_label, chosen) if value is not None]


def _amount(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def _text_input() -> str | None:
    """The words to search for; Enter or the button asks again."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "搜索词",
            key="text",
            max_chars=MAX_QUERY,
            placeholder="例如：红色双肩包",
            persist_state="session",
        )
        pressed = st.button("搜索", key="search", type="primary", icon=":material/search:")
    if not is_blank(text):
        return text
    if pressed:
        st.info("请先输入搜索词。")
    return None


def _offset(query: object) -> int:
    """Where the shown results start: at the best again as soon as the query is another."""
    if st.session_state.get("asked") != query:
        st.session_state["asked"] = query
        st.session_state["offset"] = 0
    return int(st.session_state["offset"])


def _show_answer(client: ApiClient, answer: SearchResponse, offset: int, top_k: int) -> None:
    took = f"用时 {answer.took_ms.total:.0f} 毫秒"
    encoder = demo.encoder_name(answer.encoder)
    if answer.corrected_query:
        st.caption(f"已按“{answer.corrected_query}”搜索。")
    if answer.hits:
        first, last = answer.hits[0].rank, answer.hits[-1].rank
        st.caption(f"第 {first}–{last} 件 · {took} · 编码器：{encoder}")
        st.html(demo.cards_html(client, answer.hits))
    elif offset:
        st.info(f"没有更多结果了（{took}）。")
    else:
        st.info(f"没有找到符合条件的商品（{took}）。可以换个说法，或放宽左侧的筛选条件。")
        if answer.near_misses:
            st.caption("最接近的是：")
            st.html(demo.cards_html(client, answer.near_misses))
    if answer.dropped:
        st.caption(f"另有 {answer.dropped} 个结果因商品刚被改动或删除而略去。")
    with st.container(horizontal=True):
        if offset:
            _offset_button("上一批", max(0, offset - top_k))
        # A page that isn't full is the last one.
        if len(answer.hits) >= top_k and offset + top_k <= MAX_OFFSET:
            _offset_button("下一批", offset + top_k)


def _offset_button(label: str, offset: int) -> None:
    st.button(
        label,
        key="previous" if label == "上一批" else "next",
        on_click=_turn_to,
        args=(offset,),
    )


def _turn_to(offset: int) -> None:
    st.session_state["offset"] = offset


st.set_page_config(page_title="商品搜索", page_icon="🔎", layout="wide")
st.session_state["entered"] = True
st.navigation(
    [
        st.Page(search_page, title="搜索商品", icon=":material/search:", default=True),
        st.Page("pages/catalogue.py", title="商品目录", icon=":material/inventory_2:"),
    ],
    position="top",
).run()
