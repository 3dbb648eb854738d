"""What was understood of the query: a chip for each kind of words, which a click takes out."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from data_models import Interpretation, InterpretedKind, PriceBounds
from product_search.demo.html import plain
from product_search.demo.language import N_, _

KIND_NAMES = {
    InterpretedKind.price: N_("价格"),
    InterpretedKind.negation: N_("不要"),
    InterpretedKind.phrase: N_("连在一起"),
}
_ICONS = {
    InterpretedKind.price: ":material/sell:",
    InterpretedKind.negation: ":material/block:",
    InterpretedKind.phrase: ":material/format_quote:",
}
AS_TYPED = "as_typed"  # in the address: the kinds that were taken out


def kinds_as_typed(text: str | None) -> list[InterpretedKind]:
    """Return the kinds that the visitor took out of this text; out of another text none is."""
    if AS_TYPED not in st.session_state:
        given = st.query_params.get(AS_TYPED, "").split(",")
        st.session_state[AS_TYPED] = text, [kind for kind in InterpretedKind if kind in given]
    known_text, kinds = st.session_state[AS_TYPED]
    if known_text != text:
        kinds = []
        st.session_state[AS_TYPED] = text, kinds
    return list(kinds)


def show_understood(text: str | None, interpreted: Sequence[Interpretation]) -> None:
    """Show what was understood, and what was taken out and may be understood again."""
    as_typed = kinds_as_typed(text)
    found = [kind for kind in InterpretedKind if any(one.kind is kind for one in interpreted)]
    if not found and not as_typed:
        return
    with st.container(horizontal=True, key="understood"):
        for kind in found:
            _show_chip(text, kind, [one for one in interpreted if one.kind is kind])
        for kind in as_typed:
            st.button(
                _("{kind}：按原词").format(kind=_(KIND_NAMES[kind])),
                key=f"understand_{kind}",
                icon=":material/undo:",
                type="tertiary",
                help=_("重新理解这些词"),
                on_click=_set_as_typed,
                args=(text, [one for one in as_typed if one is not kind]),
            )
    if any(one.contradicts for one in interpreted):
        words = "、".join(one.text for one in interpreted if one.contradicts)
        told = _("“{words}”与价格筛选或其他的词矛盾，没有商品能同时符合：请去掉其一。")
        st.warning(told.format(words=plain(words)))


def _show_chip(text: str | None, kind: InterpretedKind, parts: Sequence[Interpretation]) -> None:
    meant = _("、").join(_meaning(one) for one in parts)
    words = "、".join(one.text for one in parts)
    st.button(
        f"{_(KIND_NAMES[kind])} {plain(meant)} ✕",
        key=f"as_typed_{kind}",
        icon=_ICONS[kind],
        help=_("由“{words}”理解而来；去掉后按原词找").format(words=plain(words)),
        on_click=_set_as_typed,
        args=(text, [*kinds_as_typed(text), kind]),
    )


def _meaning(one: Interpretation) -> str:
    if one.meaning.price is not None:
        return _price_text(one.meaning.price)
    return one.meaning.without or one.text


def _price_text(price: PriceBounds) -> str:
    low, high = (None if end is None else f"{end.normalize():f}" for end in (price.gte, price.lte))
    if low is None:
        return f"≤ ¥{high}"
    return f"≥ ¥{low}" if high is None else f"¥{low}–{high}"


def _set_as_typed(text: str | None, kinds: list[InterpretedKind]) -> None:
    st.session_state[AS_TYPED] = text, kinds
