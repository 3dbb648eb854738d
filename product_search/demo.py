"""Pieces that the front page and the other pages share: the API's client, messages, filters, HTML.

Whatever a user or a shop typed is escaped here before it reaches Markdown or HTML.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from html import escape
from typing import Any, NamedTuple, NoReturn

import streamlit as st

from data_models import (
    MAX_LABEL,
    ErrorBody,
    Health,
    IndexStatus,
    ProductListQuery,
    ProductOut,
    SearchHit,
    is_blank,
)
from product_search.api_client import ApiClient, ApiError, ApiUnreachable
from product_search.settings import Settings

# Any picture may come: of those that it can't read, the API says so in Chinese. The endings are
# for systems that know no media type for them.
PICTURE_TYPES = ["image/*", "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"]
PICTURE_ERRORS = ("invalid_image", "image_too_large", "image_too_many_pixels")
FIELD_NAMES = {
    "title": "标题",
    "sku": "商家编号",
    "description": "描述",
    "category": "分类",
    "brand": "品牌",
    "price": "价格",
    "min_price": "最低价",
    "max_price": "最高价",
    "attributes": "属性",
    "image": "图片",
    "image_base64": "图片",
    "text": "搜索词",
    "top_k": "结果数量",
    "offset": "起始位置",
    "q": "标题包含",
    "filters.category": "分类",
    "filters.brand": "品牌",
    "filters.price": "价格",
    "filters.price.gte": "最低价",
    "filters.price.lte": "最高价",
}
STATUS_NAMES = {
    IndexStatus.indexed: "可搜索",
    IndexStatus.pending: "正在建立索引",
    IndexStatus.failed: "索引失败",
}
ENCODER_NAMES = {"starter": "项目自带的小模型（starter）", "chinese-clip": "Chinese-CLIP"}
STARTER_NOTE = (
    "现在作答的是项目自带的小模型（starter），准确度有限；在 API 所在的机器上运行 "
    "`python -m product_search.manage download-models` 下载 Chinese-CLIP，"
    "再运行 `python -m product_search.manage reindex --encoder chinese-clip` 换用它。"
)
# Enough to choose from; the boxes take any other value too.
_LABELS_WALKED = 1000
_MAX_PRICE = 9_999_999_999.99


class Labels(NamedTuple):
    """The categories and brands that the catalogue's products have, sorted."""

    categories: list[str]
    brands: list[str]


@st.cache_resource(on_release=ApiClient.close, show_spinner=False)
def _client(url: str) -> ApiClient:
    return ApiClient(url, Settings().api_public_url)


def open_client() -> ApiClient:
    """The client of the configured API, shared by all sessions."""
    try:
        return _client(Settings().api_url)
    except ValueError as error:  # pydantic's and httpx's alike
        st.error(f"设置有误，请检查环境变量 PRODUCT_SEARCH_* 与 .env：{plain(str(error))}")
        st.stop()


@st.cache_data(ttl=60, show_spinner=False)
def known_labels(url: str) -> Labels:
    """What the filters offer: from the first products of the catalogue, at most a minute old."""
    client, categories, brands, last, seen = _client(url), set(), set(), 0, 0
    while seen < _LABELS_WALKED:
        items = client.products(ProductListQuery(after_id=last, page_size=100)).items
        if not items:
            break
        categories |= {item.category for item in items if item.category}
        brands |= {item.brand for item in items if item.brand}
        last, seen = items[-1].product_id, seen + len(items)
    return Labels(sorted(categories), sorted(brands))


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$:<>&])", r"\\\1", text)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show what the API said, or that it is silent, in place of the block's result."""
    try:
        yield
    except (ApiUnreachable, ApiError, ValueError) as error:
        st.error(error_text(error), icon=":material/error:")


def error_text(error: ApiUnreachable | ApiError | ValueError) -> str:
    """What happened and what can be done, as Markdown."""
    if isinstance(error, ApiUnreachable):
        return (
            f"无法连接 API（{_address()}）。请在项目目录运行 `make serve` 启动它，"
            "然后点“重试”；地址不对时，用环境变量 `PRODUCT_SEARCH_API_URL` 指定。"
        )
    if isinstance(error, ApiError):
        if error.body.code == "http_error":
            return f"{_address()} 的回答无法识别（HTTP {error.status}），请确认它是本项目的 API。"
        return _answer_text(error.body)
    # Only an answer that is not of our API's shape comes here (pydantic's error).
    return f"{_address()} 的回答无法识别，请确认它是本项目的 API。"


def _address() -> str:
    """As code, since Markdown would make a link of it and of the words behind it."""
    return f"`{Settings().api_url.replace('`', '')}`"


def _answer_text(body: ErrorBody) -> str:
    if not body.fields:
        return plain(body.message)
    # The message repeats every field under its name in the API; the list says it in Chinese.
    head = body.message.partition("：")[0]
    reasons = [f"- {field_name(name)}：{plain(why)}" for name, why in body.fields.items()]
    return "\n".join([f"{plain(head)}：", "", *reasons])


def field_name(name: str) -> str:
    """The Chinese name of a field of the API, such as `filters.brand.0`."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        known = FIELD_NAMES.get(".".join(parts[:length]))
        if known:
            return known
    return plain(name)


def show_service(client: ApiClient) -> Health | None:
    """Say what is wrong with the service, if anything; None where it does not answer."""
    health = None
    with errors_shown():
        health = client.health()
    if health is None:
        st.button("重试", key="retry", icon=":material/refresh:")
        return None
    if health.database == "down":
        st.error("API 已启动，但它的数据库没有响应，商品目录暂不可用。")
    elif health.vector_store == "down":
        st.warning("API 已启动，但向量库没有响应，暂时不能搜索。")
    elif health.vector_store == "filling":
        st.warning("向量集合是新建的，正在重新建立索引：目前只能搜到一部分商品。")
    if health.outbox.failed:
        st.warning(f"有 {health.outbox.failed} 项改动未能建立索引，可在“商品目录”中按状态查看。")
    if health.outbox.pending:
        st.info(f"有 {health.outbox.pending} 项改动正在建立索引，完成后才能搜到。")
    return health


def show_encoder(health: Health | None) -> None:
    """Which encoder the service runs, in a sentence."""
    if health is None:
        return
    name = health.encoders.name
    if name == "starter":
        st.caption(STARTER_NOTE)
    else:
        st.caption(f"编码器：{encoder_name(name)}，运行于 {health.encoders.device}。")


def encoder_name(name: str) -> str:
    """The encoder's name for people, as Markdown."""
    return plain(ENCODER_NAMES.get(name, name))


def labels_or_none(client: ApiClient) -> Labels:
    """The known labels; empty lists where the API can't tell, which is said elsewhere."""
    try:
        return known_labels(client.base_url)
    except (ApiUnreachable, ApiError, ValueError):
        return Labels([], [])


def as_label(text: str | None) -> str | None:
    """A filter value as typed; None where there is nothing to see."""
    return text[:MAX_LABEL] if text and not is_blank(text) else None


def price_inputs(prefix: str) -> tuple[Decimal | None, Decimal | None]:
    """Two boxes for the lowest and highest price; crossed ends are told and swapped."""
    left, right = st.columns(2, wrap=False)
    low = _price_input(left, "最低价", f"{prefix}_min_price")
    high = _price_input(right, "最高价", f"{prefix}_max_price")
    if low is not None and high is not None and low > high:
        st.caption(":orange[最低价高于最高价，已对调。]")
        return high, low
    return low, high


def _price_input(place: Any, label: str, key: str) -> Decimal | None:
    value = place.number_input(
        label,
        min_value=0.0,
        max_value=_MAX_PRICE,
        value=None,
        step=1.0,
        format="%.2f",
        placeholder="不限",
        key=key,
        persist_state="session",
    )
    return None if value is None else Decimal(f"{value:.2f}")


def picture_input(label: str, key: str) -> bytes | None:
    """An uploader with a preview; the bytes that were chosen, unchecked."""
    upload = st.file_uploader(label, type=PICTURE_TYPES, key=key)
    if upload is None:
        return None
    content = upload.getvalue()
    st.html(preview_html(content, upload.name))
    return content


def preview_html(content: bytes, name: str) -> str:
    """The picture for the browser to decode: broken bytes show the words, and never raise here."""
    data = base64.b64encode(content).decode("ascii")
    alt = escape(f"{name}（浏览器无法预览）", quote=True)
    return f'<img class="ps-preview" src="data:image/png;base64,{data}" alt="{alt}">'


def price_text(product: ProductOut) -> str:
    """The price with its sign, or that there is none."""
    return "价格未填" if product.price is None else f"¥{product.price}"


def thumbnail_html(client: ApiClient, product: ProductOut, size: int) -> str:
    """The product's picture, or a box that says that there is none."""
    url = client.image_url(product, size)
    if url is None:
        return '<div class="ps-pic ps-none">暂无图片</div>'
    source, alt = escape(url, quote=True), escape(product.title, quote=True)
    return f'<div class="ps-pic"><img src="{source}" alt="{alt}" loading="lazy"></div>'


def cards_html(client: ApiClient, hits: list[SearchHit]) -> str:
    """Result cards, best first."""
    return f'<div class="ps-grid">{"".join(_card_html(client, hit) for hit in hits)}</div>'


def _card_html(client: ApiClient, hit: SearchHit) -> str:
    product = hit.product
    labels = [product.brand or "品牌未填", product.category or "未分类"]
    return (
        '<div class="ps-card" role="article">'
        f"{thumbnail_html(client, product, 256)}"
        f'<div class="ps-title">{escape(product.title)}</div>'
        f'<div class="ps-labels">{escape(" · ".join(labels))}</div>'
        '<div class="ps-foot">'
        f'<span class="ps-price">{price_text(product)}</span>'
        f'<span class="ps-score">{_fit(hit)}</span></div></div>'
    )


def _fit(hit: SearchHit) -> str:
    if hit.confidence is None:
        return f"相似度 {hit.score:.3f}"
    return f"符合度 {hit.confidence:.0%}"


def row_html(client: ApiClient, product: ProductOut) -> str:
    """One product of the catalogue."""
    labels = [price_text(product), product.brand, product.category, product.sku]
    status = f"{STATUS_NAMES[product.index_status]}"
    if product.index_error:
        status += f"：{product.index_error}"
    return (
        f'<div class="ps-row">{thumbnail_html(client, product, 128)}<div>'
        f'<div class="ps-title">{escape(product.title)}</div>'
        f'<div class="ps-labels">{escape(" · ".join(label for label in labels if label))}</div>'
        f'<div class="ps-status ps-{product.index_status}">{escape(status)}</div></div></div>'
    )


def json_object(text: str) -> dict[str, Any]:
    """The JSON object of the text, such as can be sent; a ValueError says in Chinese why not."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # fails for what UTF-8 can't carry
    except json.JSONDecodeError as error:
        reason = f"不是有效的 JSON：第 {error.lineno} 行第 {error.colno} 列"
        raise ValueError(reason) from error
    except (ValueError, RecursionError) as error:
        raise ValueError("不是有效的 JSON：有无法保存的数值或字符，或嵌套过深") from error
    if not isinstance(value, dict):
        raise ValueError('应为 JSON 对象，例如 {"颜色": "红"}')
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def show_style() -> None:
    """The classes of this module's HTML, and Chinese in place of Streamlit's English words."""
    st.html(f"<style>{_STYLE}</style>")


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are given."""
    return {name: value for name, value in values.items() if value is not None}


_STYLE = """
.ps-grid { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.ps-card { border: 1px solid rgba(128,128,128,.25); border-radius: .6rem; padding: .6rem;
  display: flex; flex-direction: column; gap: .35rem; min-width: 0; }
.ps-pic { aspect-ratio: 1; border-radius: .4rem; background: rgba(128,128,128,.08);
  display: flex; align-items: center; justify-content: center; overflow: hidden; font-size: .8rem; }
.ps-pic img { width: 100%; height: 100%; object-fit: contain; }
.ps-none { color: rgba(128,128,128,.9); }
.ps-title { font-weight: 600; line-height: 1.4; overflow-wrap: anywhere; }
.ps-card .ps-title { font-size: .95rem; display: -webkit-box; -webkit-line-clamp: 3;
  -webkit-box-orient: vertical; overflow: hidden; }
.ps-labels, .ps-score, .ps-status { font-size: .82rem; opacity: .75; overflow-wrap: anywhere; }
.ps-foot { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline;
  gap: 0 .5rem; margin-top: auto; }
.ps-price { font-weight: 600; }
.ps-row { display: grid; grid-template-columns: 4.5rem 1fr; gap: .8rem; align-items: center; }
.ps-failed { color: #b3261e; opacity: 1; }
.ps-current { max-width: 12rem; }
.ps-preview { display: block; max-width: 100%; max-height: 14rem; border-radius: .4rem; }
[data-testid="stSidebar"] [data-testid="stColumn"],
[data-testid="stSidebar"] [data-testid="stNumberInput"] { min-width: 0; }
.stMainBlockContainer { padding-top: 4.5rem; }
[data-testid="InputInstructions"], [data-testid="stNumberInput"] button { display: none; }
[data-testid="stFileUploaderDropzone"] > span p,
[data-testid="stFileUploaderDropzoneInstructions"] span { font-size: 0; }
[data-testid="stFileUploaderDropzone"] > span p::after { content: "选择图片"; font-size: 1rem; }
[data-testid="stFileUploaderDropzoneInstructions"] span::after {
  content: "或拖到这里 · 每张不超过 10 MB"; font-size: .875rem; }
"""
