"""The dialog that changes category and price of all chosen products."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from html import escape
from typing import Any, NamedTuple

import streamlit as st

from data_models import ProductOut
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo.errors import error_text, field_name, is_for_all
from product_search.demo.html import plain, price_text
from product_search.demo.inputs import MAX_PRICE, label_or_none
from product_search.demo.language import N_, _, option_name
from product_search.demo.service import labels_or_none
from product_search.demo.views.catalog.state import Notice, chosen_ids, finish

KEEP, FIXED, PERCENT = "keep", "fixed", "percent"
PRICE_NAMES = {KEEP: N_("不改价格"), FIXED: N_("统一定价"), PERCENT: N_("按百分比")}
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Bulk:
    """Open dialog: the products as they were when it was opened, and how many are gone."""

    number: int
    products: list[ProductOut]
    gone: int

    def key(self, name: str) -> str:
        """Return a widget key of this opening, so that none starts with another's values."""
        return f"bulk{self.number}_{name}"


class Change(NamedTuple):
    """Product and its new values as the API takes them; no values where nothing changes."""

    product: ProductOut
    values: dict[str, Any]


def open_bulk(client: ApiClient) -> None:
    """Open the dialog for the chosen products; products that are gone are chosen no longer."""
    chosen, products, gone = chosen_ids(), [], 0
    for product_id in sorted(chosen):
        try:
            products.append(client.get_product(product_id))
        except ApiError as error:
            if error.body.code != "product_not_found":
                st.session_state["notice"] = Notice(error_text(error), is_error=True)
                return
            chosen.discard(product_id)
            gone += 1
        except (ApiUnreachable, ValueError) as error:
            st.session_state["notice"] = Notice(error_text(error), is_error=True)
            return
    st.session_state["notice"] = None
    if not products:
        text = _("所选的商品都已被删除。")
        st.session_state["notice"] = Notice(text, is_error=True)
        return
    st.session_state["bulks"] = st.session_state.get("bulks", 0) + 1
    st.session_state["bulk"] = Bulk(st.session_state["bulks"], products, gone)


def show_bulk(client: ApiClient, bulk: Bulk) -> None:
    """Show the dialog; it stays open until it is answered."""
    title = _("批量修改 {count} 件商品").format(count=len(bulk.products))
    st.dialog(title, width="medium", icon=":material/edit_note:", on_dismiss=_close)(_show_dialog)(
        client, bulk
    )


def _close() -> None:
    st.session_state["bulk"] = None


def _show_dialog(client: ApiClient, bulk: Bulk) -> None:
    if bulk.gone:
        gone = _("另有 {count} 件已被删除，不再选中。")
        st.caption(f":orange[{gone.format(count=bulk.gone)}]")
    category = _category_input(client, bulk)
    kind, amount = _price_inputs(bulk)
    changes = [_change(product, category, kind, amount) for product in bulk.products]
    count = sum(bool(change.values) for change in changes)
    _show_preview(changes, count)
    with st.container(horizontal=True):
        label = _("修改 {count} 件").format(count=count) if count else _("修改")
        is_confirmed = st.button(
            label, key=bulk.key("carry_out"), type="primary", disabled=not count
        )
        if st.button(_("取消"), key=bulk.key("cancel")):
            _close()
            st.rerun()
    if is_confirmed:
        finish(_update_all(client, changes, count))


def _category_input(client: ApiClient, bulk: Bulk) -> str | None:
    chosen = st.selectbox(
        _("分类"),
        labels_or_none(client).categories,
        index=None,
        key=bulk.key("category"),
        accept_new_options=True,
        placeholder=_("不改分类；可选可输入"),
    )
    return label_or_none(chosen)


def _price_inputs(bulk: Bulk) -> tuple[str, Decimal | None]:
    """Ask how prices change, and by or to what."""
    kind: str = st.segmented_control(
        _("价格"),
        list(PRICE_NAMES),
        default=KEEP,
        required=True,
        format_func=partial(option_name, PRICE_NAMES),
        key=bulk.key("kind"),
    )
    if kind == KEEP:
        return kind, None
    is_fixed = kind == FIXED
    value = st.number_input(
        _("新价格（元）") if is_fixed else _("涨跌百分比，如 -10 为降一成"),
        min_value=0.0 if is_fixed else -100.0,
        max_value=MAX_PRICE,
        value=None,
        format="%.2f",
        key=bulk.key(kind),
    )
    return kind, None if value is None else Decimal(f"{value:.2f}")


def _change(product: ProductOut, category: str | None, kind: str, amount: Decimal | None) -> Change:
    values: dict[str, Any] = {}
    if category is not None and category != product.category:
        values["category"] = category
    price = _new_price(product, kind, amount)
    if price is not None and price != product.price:
        values["price"] = str(price)
    return Change(product, values)


def _new_price(product: ProductOut, kind: str, amount: Decimal | None) -> Decimal | None:
    """Return the new price; None where it stays: an unknown price has no percentage."""
    if amount is None or kind == FIXED:
        return amount
    if product.price is None:
        return None
    return (product.price * (100 + amount) / 100).quantize(_CENT, ROUND_HALF_UP)


def _show_preview(changes: list[Change], count: int) -> None:
    if count:
        words = _("将修改 {count} 件，{same} 件不变：")
        st.caption(words.format(count=count, same=len(changes) - count))
    else:
        st.caption(_("选定新的分类或价格后，这里会列出改动。"))
    head = "".join(f"<th>{name}</th>" for name in (_("商品"), _("分类"), _("价格")))
    rows = "".join(map(_row_html, changes))
    label = _("改动预览")
    st.html(
        f'<div class="ps-changes" tabindex="0" role="region" aria-label="{label}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row_html(change: Change) -> str:
    product, values = change
    price = f"¥{values['price']}" if "price" in values else None
    category = _change_html(product.category or _("未分类"), values.get("category"))
    cells = (escape(product.title), category, _change_html(price_text(product), price))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _change_html(old: str, new: str | None) -> str:
    return escape(old) if new is None else f"<s>{escape(old)}</s> <b>{escape(new)}</b>"


def _update_all(client: ApiClient, changes: Iterable[Change], count: int) -> Notice:
    """Update the products one by one; what failed stays chosen, the rest does not.

    The choice follows each answer, so that it is true as well where this is broken off.
    """
    chosen, bar, done = chosen_ids(), st.progress(0.0), 0
    problems: list[str] = []
    for product, values in changes:
        if not values:
            chosen.discard(product.product_id)
            continue
        try:
            client.update_product(product.product_id, values)
        except (ApiUnreachable, ApiError, ValueError) as error:
            if is_for_all(error):
                problems.append(error_text(error))
                break
            problems.append(f"**{plain(product.title)}**：{_error_line(error)}")
        else:
            chosen.discard(product.product_id)
            done += 1
        share = (done + len(problems)) / count
        progress = _("已处理 {done} / {count}")
        bar.progress(share, progress.format(done=done + len(problems), count=count))
    text = _("已修改 {count} 件商品，索引会随后更新。").format(count=done)
    if not done:
        text = _("没有商品被修改。")
    return Notice(text, problems=tuple(problems), is_error=not done)


def _error_line(error: ApiUnreachable | ApiError | ValueError) -> str:
    if isinstance(error, ApiError) and error.body.fields:
        reasons = error.body.fields.items()
        return "；".join(f"{field_name(name)} {plain(why)}" for name, why in reasons)
    return error_text(error)
