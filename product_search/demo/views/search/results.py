"""The results of a search: cards, why they match, facets, and the way to the next results."""

from __future__ import annotations

from html import escape

import streamlit as st

from data_models import (
    MAX_OFFSET,
    HitExplain,
    Leg,
    SearchHit,
    SearchResponse,
    SearchSort,
)
from product_search.client import ApiClient
from product_search.demo import html
from product_search.demo.language import N_, _
from product_search.demo.service import encoder_name
from product_search.demo.views.search.attributes import show_attribute_facets
from product_search.demo.views.search.filters import show_facet
from product_search.demo.views.search.query import LIKED, UNLIKED, add_example, search_for

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
# Hits with less than this share of the best hit's confidence are folded away.
_WEAK = 0.1


def current_offset(query: object) -> int:
    """Return where the shown results start: at the best as soon as the query is another."""
    if "asked" not in st.session_state:  # the address may ask for a later page
        given = st.query_params.get("offset", "0")
        is_number = given.isdecimal() and len(given) < 10
        st.session_state["offset"] = min(int(given), MAX_OFFSET) if is_number else 0
    elif st.session_state["asked"] != query:
        st.session_state["offset"] = 0
    st.session_state["asked"] = query
    return int(st.session_state["offset"])


def show_results(
    client: ApiClient, response: SearchResponse, sort: SearchSort, offset: int, top_k: int
) -> None:
    """Show the products found, or the nearest, and buttons to the results before and after."""
    _show_top_after_turning(offset)
    if response.degraded:
        st.warning(_("向量库有故障，只找到了一部分：稍后再搜会更全。"))
    if response.corrected_query:
        corrected = _("已按“{query}”搜索。").format(query=html.plain(response.corrected_query))
        st.caption(corrected)
    if response.did_you_mean:
        _offer_query(response.did_you_mean)
    if response.hits:
        _show_summary(response)
        if sort is SearchSort.relevance:
            _show_by_fit(client, response.hits)
        else:
            _show_cards(client, response.hits)
    elif offset:
        st.info(_("没有更多结果了。"))
    else:
        _show_no_match(client, response)
    if response.dropped:
        dropped = _("另有 {count} 个结果因商品刚被改动或删除而略去。")
        st.caption(dropped.format(count=response.dropped))
    with st.container(horizontal=True):
        if offset:
            _offset_button(_("上一批"), "previous", max(0, offset - top_k))
        if offset + len(response.hits) < response.total and offset + top_k <= MAX_OFFSET:
            _offset_button(_("下一批"), "next", offset + top_k)


def _offer_query(words: str) -> None:
    """Offer what was perhaps meant; a click searches for it."""
    with st.container(horizontal=True, vertical_alignment="center", key="did_you_mean"):
        st.caption(_("您是不是要找："), width="content")
        st.button(
            html.plain(words),
            key="offered_query",
            type="tertiary",
            on_click=search_for,
            args=(words,),
        )


def _show_summary(response: SearchResponse) -> None:
    first, last = response.hits[0].rank, response.hits[-1].rank
    total = _("共 {count} 件") if response.total_is_exact else _("至少 {count} 件")
    parts = [
        _("第 {first}–{last} 件").format(first=first, last=last),
        total.format(count=response.total),
        _time_taken(response),
        _("编码器：{name}").format(name=encoder_name(response.encoder)),
    ]
    st.caption(" · ".join(parts))
    if response.facets is not None:
        show_facet(_("分类"), "category", response.facets.category)
        show_facet(_("品牌"), "brand", response.facets.brand)
        show_attribute_facets(response.facets.attributes)


def _time_taken(response: SearchResponse) -> str:
    return _("用时 {ms} 毫秒").format(ms=f"{response.took_ms.total:.0f}")


def _show_by_fit(client: ApiClient, hits: list[SearchHit]) -> None:
    """Show the cards; what hardly fits is folded away."""
    known = [hit.confidence for hit in hits if hit.confidence is not None]
    least = _WEAK * max(known, default=0.0)
    weak = [hit for hit in hits if hit.confidence is not None and hit.confidence < least]
    strong = [hit for hit in hits if hit not in weak]
    _show_cards(client, strong)
    if weak:
        label = _("不大符合的 {count} 件").format(count=len(weak))
        with st.expander(label, key="weak"):
            _show_cards(client, weak)


def _show_no_match(client: ApiClient, response: SearchResponse) -> None:
    words = _("没有找到符合条件的商品（{took}）。可以换个说法，或放宽筛选条件。")
    st.info(words.format(took=_time_taken(response)), icon=":material/search_off:")
    if response.near_misses:
        with st.expander(_("最接近的 {count} 件").format(count=len(response.near_misses))):
            _show_cards(client, response.near_misses)


def _show_cards(client: ApiClient, hits: list[SearchHit]) -> None:
    if not hits:
        return
    with st.container(key=f"results_{hits[0].rank}"):
        for hit in hits:
            with st.container(key=f"hit_{hit.product.product_id}", gap="xsmall"):
                foot = _foot_html(hit)
                st.html(html.card_html(client, hit.product, foot))
                _show_card_buttons(hit)


def _foot_html(hit: SearchHit) -> str:
    """Return how well the hit fits and why, where more than filters was asked for; its variants."""
    if hit.matched_field is None:
        return _variants_html(hit)
    why = _why_html(hit.explain) if hit.explain else ""
    return html.fit_html(hit.confidence, hit.score) + _variants_html(hit) + why


def _variants_html(hit: SearchHit) -> str:
    """Return how many other variants fit, where there are any."""
    if not hit.more_in_group:
        return ""
    text = _("同款另有 {count} 件").format(count=hit.more_in_group)
    return f'<div class="ps-sub">{escape(text)}</div>'


def _show_card_buttons(hit: SearchHit) -> None:
    product_id = hit.product.product_id
    with st.container(horizontal=True, horizontal_alignment="center", gap="xxsmall"):
        for kind, icon, label in (
            (LIKED, ":material/thumb_up:", _("像这个")),
            (UNLIKED, ":material/thumb_down:", _("不像这个")),
        ):
            st.button(
                label,
                key=f"{kind}_{product_id}",
                icon=icon,
                type="tertiary",
                on_click=add_example,
                args=(kind, product_id),
            )


def _why_html(explain: HitExplain) -> str:
    """Return which legs found the product, and what each added to its place."""
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
    """Scroll to the first of the next results, and not where the button was."""
    if st.session_state.pop("turned", False):
        # Another text for each place: a script that is the same isn't run again.
        st.html(f"<i hidden>{offset}</i>{_TO_TOP}", unsafe_allow_javascript=True)
