"""Front page of the demo: navigation, and the search page.

Started with `streamlit run web_demo.py --server.port=6006`; it needs the API, nothing else.
"""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from data_models import (
    MAX_OFFSET,
    HitExplain,
    Leg,
    SearchHit,
    SearchMode,
    SearchResponse,
    SearchSort,
)
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.errors import show_errors
from product_search.demo.image_input import query_image
from product_search.demo.language import N_, _, show_language_switch
from product_search.demo.navigation import begin_page, enter_page
from product_search.demo.service import encoder_name, show_encoder
from product_search.demo.views import query as demo_query

LEG_NAMES = {
    Leg.bm25: N_("字词"),
    Leg.text_to_text: N_("标题意思"),
    Leg.text_to_image: N_("图片内容"),
    Leg.image_to_image: N_("图片相似"),
    Leg.image_to_text: N_("标题符合图片"),
}
_TO_TOP = """<script>
document.querySelector('[data-testid="stMain"]')?.scrollTo({ top: 0 });
</script>"""
# Of what passes the line, what has less than this share of the best's confidence is folded away.
_WEAK = 0.1


def search_page() -> None:
    """Words, an image or both in, product cards out."""
    client, health = begin_page(_("搜索商品"))
    with st.sidebar:
        filters = demo_query.filter_inputs(client)
        sort, top_k, only_fitting = demo_query.order_inputs()
        show_encoder(health)
    query, image = _query(client)
    if health is None:
        return
    if query is None:
        demo_query.keep_in_address(0)
        demo_query.show_examples()
        return
    asked = query | {
        "top_k": top_k,
        "filters": filters or None,
        "sort": sort,
        "min_confidence": None if only_fitting else 0,
    }
    offset = _offset((asked, image))
    demo_query.keep_in_address(offset)
    with show_errors(), st.spinner(_("正在搜索…")):
        extras = {"offset": offset, "facets": True, "explain": True}
        answer = client.search(asked | extras, image)
        _show_top_after_turning(offset)
        _show_answer(client, answer, sort, offset, top_k)


def _query(client: ApiClient) -> tuple[dict[str, Any] | None, bytes | None]:
    """What is asked, as the API takes it, and its image."""
    mode = demo_query.mode_input()
    st.caption(_(demo_query.MODE_NOTES[mode]))
    takes_text = mode == demo_query.AUTO or SearchMode(mode).takes_text
    takes_image = mode == demo_query.AUTO or not SearchMode(mode).takes_text
    left, right = st.columns([3, 2], gap="medium") if takes_text and takes_image else [st] * 2
    text = image = region = generated = None
    if takes_text:
        with left.container():
            text = demo_query.text_input()
            demo_query.show_examples_chosen(client)
    if takes_image:
        with right.container():
            generated = demo_query.generated()
            if generated is not None:
                demo_query.show_generated(client, generated)
            else:
                image, region = query_image()
    query = demo_query.request(mode, text, image, region, generated)
    return query, image if takes_image else None


def _offset(query: object) -> int:
    """Where the shown results start: at the best again as soon as the query is another."""
    if "asked" not in st.session_state:  # the address may ask for a later page
        given = st.query_params.get("offset", "0")
        is_number = given.isdecimal() and len(given) < 10
        st.session_state["offset"] = min(int(given), MAX_OFFSET) if is_number else 0
    elif st.session_state["asked"] != query:
        st.session_state["offset"] = 0
    st.session_state["asked"] = query
    return int(st.session_state["offset"])


def _show_answer(
    client: ApiClient, answer: SearchResponse, sort: SearchSort, offset: int, top_k: int
) -> None:
    if answer.corrected_query:
        corrected = _("已按“{query}”搜索。").format(query=html.plain(answer.corrected_query))
        st.caption(corrected)
    if answer.hits:
        _show_summary(answer)
        if sort is SearchSort.relevance:
            _show_hits(client, answer.hits)
        else:
            _show_cards(client, answer.hits)
    elif offset:
        st.info(_("没有更多结果了。"))
    else:
        _show_no_match(client, answer)
    if answer.dropped:
        dropped = _("另有 {count} 个结果因商品刚被改动或删除而略去。")
        st.caption(dropped.format(count=answer.dropped))
    with st.container(horizontal=True):
        if offset:
            _offset_button(_("上一批"), "previous", max(0, offset - top_k))
        if offset + len(answer.hits) < answer.total and offset + top_k <= MAX_OFFSET:
            _offset_button(_("下一批"), "next", offset + top_k)


def _show_summary(answer: SearchResponse) -> None:
    first, last = answer.hits[0].rank, answer.hits[-1].rank
    total = _("共 {count} 件") if answer.total_is_exact else _("至少 {count} 件")
    parts = [
        _("第 {first}–{last} 件").format(first=first, last=last),
        total.format(count=answer.total),
        _took(answer),
        _("编码器：{name}").format(name=encoder_name(answer.encoder)),
    ]
    st.caption(" · ".join(parts))
    if answer.facets is not None:
        demo_query.show_facet(_("分类"), "category", answer.facets.category)
        demo_query.show_facet(_("品牌"), "brand", answer.facets.brand)


def _took(answer: SearchResponse) -> str:
    return _("用时 {ms} 毫秒").format(ms=f"{answer.took_ms.total:.0f}")


def _show_hits(client: ApiClient, hits: list[SearchHit]) -> None:
    """The cards; what passes the line but hardly fits is folded away."""
    known = [hit.confidence for hit in hits if hit.confidence is not None]
    least = _WEAK * max(known, default=0.0)
    weak = [hit for hit in hits if hit.confidence is not None and hit.confidence < least]
    strong = [hit for hit in hits if hit not in weak]
    _show_cards(client, strong)
    if weak:
        label = _("不大符合的 {count} 件").format(count=len(weak))
        with st.expander(label, key="weak"):
            _show_cards(client, weak)


def _show_no_match(client: ApiClient, answer: SearchResponse) -> None:
    words = _("没有找到符合条件的商品（{took}）。可以换个说法，或放宽筛选条件。")
    st.info(words.format(took=_took(answer)), icon=":material/search_off:")
    if answer.near_misses:
        with st.expander(_("最接近的 {count} 件").format(count=len(answer.near_misses))):
            _show_cards(client, answer.near_misses)


def _show_cards(client: ApiClient, hits: list[SearchHit]) -> None:
    if not hits:
        return
    with st.container(key=f"results_{hits[0].rank}"):
        for hit in hits:
            with st.container(key=f"hit_{hit.product.product_id}", gap="xsmall"):
                why = _why_html(hit.explain) if hit.explain else ""
                foot = html.fit_html(hit.confidence, hit.score) + why
                st.html(html.card_html(client, hit.product, foot))
                _show_card_buttons(hit)


def _show_card_buttons(hit: SearchHit) -> None:
    product_id = hit.product.product_id
    with st.container(horizontal=True, horizontal_alignment="center", gap="xxsmall"):
        for kind, icon, label in (
            (demo_query.LIKED, ":material/thumb_up:", _("像这个")),
            (demo_query.UNLIKED, ":material/thumb_down:", _("不像这个")),
        ):
            st.button(
                label,
                key=f"{kind}_{product_id}",
                icon=icon,
                type="tertiary",
                on_click=demo_query.add_example,
                args=(kind, product_id),
            )


def _why_html(explain: HitExplain) -> str:
    """Which legs have found the product, and what each has added to its place."""
    whole = sum(leg.contribution for leg in explain.legs) or 1
    place = _("第 {rank} 名，占 {share}")
    lines = "".join(
        f"<li>{_(LEG_NAMES[leg.leg])}："
        f"{escape(place.format(rank=leg.rank, share=f'{leg.contribution / whole:.0%}'))}</li>"
        for leg in explain.legs
    )
    summary = _("为何匹配")
    return f'<details class="ps-why"><summary>{summary}</summary><ul>{lines}</ul></details>'


def _offset_button(label: str, key: str, offset: int) -> None:
    st.button(label, key=key, on_click=_turn_to, args=(offset,))


def _turn_to(offset: int) -> None:
    st.session_state["offset"] = offset
    st.session_state["turned"] = True


def _show_top_after_turning(offset: int) -> None:
    """The next results begin at the top, and not where the button was."""
    if st.session_state.pop("turned", False):
        # Another text for each place: a script that is the same isn't run again.
        st.html(f"<i hidden>{offset}</i>{_TO_TOP}", unsafe_allow_javascript=True)


def _pages() -> list[Any]:
    return [
        st.Page(search_page, title=_("搜索商品"), icon=":material/search:", default=True),
        st.Page("pages/catalogue.py", title=_("商品目录"), icon=":material/inventory_2:"),
        st.Page("pages/imports.py", title=_("批量导入"), icon=":material/upload_file:"),
        st.Page("pages/matching.py", title=_("图文匹配"), icon=":material/rule:"),
        st.Page("pages/generate.py", title=_("生成图片"), icon=":material/auto_awesome:"),
        st.Page("pages/duplicates.py", title=_("查重"), icon=":material/content_copy:"),
        st.Page("pages/map.py", title=_("目录图"), icon=":material/scatter_plot:"),
        st.Page("pages/system.py", title=_("系统"), icon=":material/monitor_heart:"),
    ]


st.set_page_config(page_title=_("商品搜索"), page_icon="🔎", layout="wide")
st.session_state["entered"] = True
with st.sidebar:
    show_language_switch()
_chosen = st.navigation(_pages(), position="top")
enter_page(_chosen.url_path)
_chosen.run()
