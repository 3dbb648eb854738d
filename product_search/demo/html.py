"""The HTML of the pages: images, cards and rows of products; its classes are in demo.css.

Whatever a user or a shop typed is escaped here before it reaches Markdown or HTML.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta, timezone
from html import escape
from pathlib import Path

import streamlit as st

from data_models import IndexStatus, ProductOut
from product_search.client import ApiClient
from product_search.demo.language import N_, _

STATUS_NAMES = {
    IndexStatus.indexed: N_("可搜索"),
    IndexStatus.pending: N_("正在建立索引"),
    IndexStatus.failed: N_("索引失败"),
}
# What Streamlit links even where Markdown's characters are escaped: http://a, www.a, a@b.c.
_LINKED = re.compile(r"(?<=http)(?=s?://)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_WORD_JOINER = "\u2060"  # takes no room
_IN_A_SENTENCE = 60  # characters
_STYLE = Path(__file__).with_name("demo.css")


def show_style() -> None:
    """Show nothing but style: this module's classes, and words in place of Streamlit's English."""
    st.html(_STYLE)
    words = {"--ps-choose": _("选择图片"), "--ps-or-drop": _("或拖到这里 · 每张不超过 10 MB")}
    values = "".join(f'{name}:"{text}";' for name, text in words.items())
    st.html(f"<style>:root{{{values}}}</style>")


def plain(text: str) -> str:
    """Escape a text, so that Markdown shows it as it is, and links nothing in it."""
    unlinked = _LINKED.sub(_WORD_JOINER, text)
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$:<>&])", r"\\\1", unlinked)


def shorten(title: str) -> str:
    """Cut a title for the middle of a sentence."""
    return title if len(title) <= _IN_A_SENTENCE else f"{title[:_IN_A_SENTENCE]}…"


def preview_html(content: bytes, name: str) -> str:
    """Return the image for the browser to decode; broken bytes show the words, and never raise."""
    data = base64.b64encode(content).decode("ascii")
    alt = escape(_("{name}（浏览器无法预览）").format(name=name), quote=True)
    return f'<img class="ps-preview" src="data:image/png;base64,{data}" alt="{alt}">'


def time_text(moment: datetime) -> str:
    """Return the moment to the minute where the visitor is."""
    offset = st.context.timezone_offset or 0  # minutes from there to UTC
    return f"{moment.astimezone(timezone(timedelta(minutes=-offset))):%Y-%m-%d %H:%M}"


def price_text(product: ProductOut) -> str:
    """Return the price with its sign, or that there is none."""
    return _("价格未填") if product.price is None else f"¥{product.price}"


def thumbnail_html(client: ApiClient, product: ProductOut, size: int) -> str:
    """Return the product's image, or a box that says that there is none."""
    url = client.image_url(product, size)
    if url is None:
        return f'<div class="ps-pic ps-none">{_("暂无图片")}</div>'
    return image_html(url, product.title, is_generated=product.image_generated)


def image_html(url: str, alt: str, *, is_generated: bool) -> str:
    """Return an image in a square, marked where it is generated."""
    mark = f'<span class="ps-made">{_("AI 生成")}</span>' if is_generated else ""
    return (
        f'<div class="ps-pic"><img src="{escape(url, quote=True)}"'
        f' alt="{escape(alt, quote=True)}" loading="lazy">{mark}</div>'
    )


def card_html(client: ApiClient, product: ProductOut, foot: str = "") -> str:
    """Return a product with its image; `foot` is HTML to go under it."""
    labels = [product.brand or _("品牌未填"), product.category or _("未分类")]
    return (
        '<div class="ps-card" role="article">'
        f"{thumbnail_html(client, product, 256)}"
        f'<div class="ps-title">{escape(product.title)}</div>'
        f'<div class="ps-labels">{escape(" · ".join(labels))}</div>'
        f'<div class="ps-price">{price_text(product)}</div>{foot}</div>'
    )


def confidence_html(confidence: float) -> str:
    """Return how likely the product is meant, as a bar and a number."""
    label, share = _("符合度"), f"{confidence:.0%}"
    return (
        f'<div class="ps-fit"><span class="ps-score">{label} {share}</span>'
        f'<div class="ps-bar" role="meter" aria-label="{label}" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{100 * confidence:.0f}">'
        f'<span style="width:{share}"></span></div></div>'
    )


def fit_html(confidence: float | None, score: float) -> str:
    """Return the confidence, or the bare score where nothing was calibrated."""
    if confidence is None:
        bare = _("相似度 {score}").format(score=f"{score:.3f}")
        return f'<span class="ps-score">{bare}</span>'
    return confidence_html(confidence)


def row_head_html() -> str:
    """Return the names of a row's columns, seen where the row is wide enough to have columns."""
    names = (_("商品"), _("分类"), _("品牌"), _("价格"), _("索引状态"))
    cells = "".join(f"<div>{escape(name)}</div>" for name in names)
    return (
        f'<div class="ps-row" aria-hidden="true"><div class="ps-cells ps-head">{cells}</div></div>'
    )


def row_html(client: ApiClient, product: ProductOut) -> str:
    """Return a product of the catalog: in columns where there is room for them, else in lines."""
    unknown = " ps-none" if product.price is None else ""
    under = f'<div class="ps-sub">{escape(product.sku)}</div>' if product.sku else ""
    if product.index_error:
        under += f'<div class="ps-sub ps-failed">{escape(product.index_error)}</div>'
    return (
        f'<div class="ps-row"><div class="ps-cells">{thumbnail_html(client, product, 128)}'
        f'<div><div class="ps-title">{escape(product.title)}</div>{under}</div>'
        f'<div class="ps-meta"><div>{escape(product.category or "")}</div>'
        f"<div>{escape(product.brand or '')}</div>"
        f'<div class="ps-price{unknown}">{price_text(product)}</div>'
        f"<div>{status_html(product.index_status)}</div></div></div></div>"
    )


def status_html(status: IndexStatus) -> str:
    """Return the index status as a badge."""
    return f'<span class="ps-badge ps-is-{status}">{escape(_(STATUS_NAMES[status]))}</span>'
