"""Pieces that the front page and the other pages share: the API's client, messages, filters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

import streamlit as st

from data_models import (
    MAX_LABEL,
    ErrorBody,
    Health,
    ProductListQuery,
    is_blank,
)
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo.html import plain, show_style
from product_search.demo.language import N_, _, language
from product_search.settings import Settings

IMAGE_ERRORS = (
    "invalid_image",
    "image_too_large",
    "image_too_many_pixels",
    "payload_too_large",
)
# Open dialogs of the pages.
_QUESTIONS = ("deleting", "bulk", "duplicates_choice")
FIELD_NAMES = {
    "title": N_("标题"),
    "sku": N_("商家编号"),
    "description": N_("描述"),
    "category": N_("分类"),
    "brand": N_("品牌"),
    "price": N_("价格"),
    "min_price": N_("最低价"),
    "max_price": N_("最高价"),
    "attributes": N_("属性"),
    "image": N_("图片"),
    "image_base64": N_("图片"),
    "text": N_("搜索词"),
    "top_k": N_("结果数量"),
    "offset": N_("起始位置"),
    "product_id": N_("商品编号"),
    "parts": N_("查询的各部分"),
    "q": N_("标题包含"),
    "texts": N_("标题"),
    "prompt": N_("想要的图片"),
    "negative_prompt": N_("不要出现的"),
    "style": N_("风格"),
    "width": N_("宽"),
    "height": N_("高"),
    "steps": N_("步数"),
    "guidance": N_("贴近文字的程度"),
    "seed": N_("种子"),
    "n": N_("张数"),
    "images": N_("图片"),
    "filters.category": N_("分类"),
    "filters.brand": N_("品牌"),
    "filters.price": N_("价格"),
    "filters.price.gte": N_("最低价"),
    "filters.price.lte": N_("最高价"),
}
ENCODER_NAMES = {"starter": N_("项目自带的小模型（starter）"), "chinese-clip": "Chinese-CLIP"}
STARTER_NOTE = N_(
    "现在作答的是项目自带的小模型（starter），准确度有限；在 API 所在的机器上运行 "
    "`python -m product_search.manage download-models` 下载 Chinese-CLIP，"
    "再运行 `python -m product_search.manage reindex --encoder chinese-clip` 换用它。"
)
# Enough to choose from; the boxes take any other value too.
_LABELS_WALKED = 1000
MAX_PRICE = 9_999_999_999.99
# What the search page keeps of its query; its filters stay.
_QUERY_STATE = ("text", "mode_zh", "mode_en", "like", "unlike", "generation", "picture")


class Labels(NamedTuple):
    """The categories and brands that the catalog's products have, sorted."""

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
        wrong = _("设置有误，请检查环境变量 PRODUCT_SEARCH_* 与 .env：{error}")
        st.error(wrong.format(error=plain(str(error))))
        st.stop()


def begin_page(title: str) -> tuple[ApiClient, Health | None]:
    """What every page begins with: its style and title, and how the service is.

    None in place of the service's state where it does not answer, which is told.
    """
    if not st.session_state.get("entered"):
        # A server's first visitor may come by a page's own address, before the front page ran.
        st.set_page_config(page_title=title, page_icon="🔎", layout="wide")
        st.html(f'<a href="./" target="_self">{_("搜索商品")}</a>')
    show_style()
    client = open_client()
    st.title(title, anchor=False)
    return client, show_service(client)


def enter_page(path: str) -> None:
    """What waited for an answer on another page has been left there."""
    if st.session_state.get("page") != path:
        st.session_state["page"] = path
        for name in _QUESTIONS:
            st.session_state[name] = None


def open_in_catalog(product_id: int) -> NoReturn:
    """Go to the catalog page, with this product open for editing."""
    st.switch_page("pages/catalogue.py", query_params={"product": str(product_id)})


def open_generator(product_id: int) -> NoReturn:
    """Go to the page that generates images, for one of this product."""
    st.switch_page("pages/generate.py", query_params={"product": str(product_id)})


def open_search(asked: Mapping[str, str]) -> NoReturn:
    """Go to the search page with this query alone, named as in its address."""
    for name in _QUERY_STATE:
        st.session_state.pop(name, None)
    # The front page is a function: it goes by its address, which is the empty one.
    front = st.Page(lambda: None, title=_("搜索商品"), default=True)
    st.switch_page(front, query_params=asked)


@st.cache_data(ttl=60, show_spinner=False)
def known_labels(url: str) -> Labels:
    """What the filters offer: from the first products of the catalog, at most a minute old."""
    client, categories, brands, last, seen = _client(url), set(), set(), 0, 0
    while seen < _LABELS_WALKED:
        items = client.list_products(ProductListQuery(after_id=last, page_size=100)).items
        if not items:
            break
        categories |= {item.category for item in items if item.category}
        brands |= {item.brand for item in items if item.brand}
        last, seen = items[-1].product_id, seen + len(items)
    return Labels(sorted(categories), sorted(brands))


@st.cache_data(ttl=60, show_spinner=False)
def product_title(url: str, product_id: int) -> str | None:
    """The product's title, at most a minute old; None where it can't be told."""
    try:
        return _client(url).get_product(product_id).title
    except (ApiUnreachable, ApiError, ValueError):
        return None


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
        return _(
            "无法连接 API（{address}）。请在项目目录运行 `make serve` 启动它；"
            "地址不对时，用环境变量 `PRODUCT_SEARCH_API_URL` 指定。"
        ).format(address=_address())
    if isinstance(error, ApiError):
        if error.body.code == "http_error":
            strange = _("{address} 的回答无法识别（HTTP {status}），请确认它是本项目的 API。")
            return strange.format(address=_address(), status=error.status)
        return _answer_text(error.body)
    # Only an answer that is not of our API's shape comes here (pydantic's error).
    return _("{address} 的回答无法识别，请确认它是本项目的 API。").format(address=_address())


def _address() -> str:
    """As code, since Markdown would make a link of it and of the words behind it."""
    return f"`{Settings().api_url.replace('`', '')}`"


def _answer_text(body: ErrorBody) -> str:
    if not body.fields:
        return _in_chinese(body, plain(body.message))
    # The message repeats every field under its name in the API; the list says it in Chinese.
    head = body.message.partition("：")[0]
    reasons = [f"- {field_name(name)}：{plain(why)}" for name, why in body.fields.items()]
    return "\n".join([_in_chinese(body, f"{plain(head)}："), "", *reasons])


def _in_chinese(body: ErrorBody, message: str) -> str:
    """The API speaks Chinese; beside its words, whoever reads none has the code."""
    return message if language() == "zh" else f"`{body.code}` {message}"


def field_name(name: str) -> str:
    """The name for people of a field of the API, such as `filters.brand.0`."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        known = FIELD_NAMES.get(".".join(parts[:length]))
        if known:
            return _(known)
    return plain(name)


def show_service(client: ApiClient) -> Health | None:
    """Say what is wrong with the service, if anything; None where it does not answer."""
    health = None
    with errors_shown():
        health = client.get_health()
    if health is None:
        _wait_for_service(client)
        return None
    if health.database == "down":
        st.error(_("API 已启动，但它的数据库没有响应，商品目录暂不可用。"))
    elif health.vector_store == "down":
        st.warning(_("API 已启动，但向量库没有响应，暂时不能搜索。"))
    elif health.vector_store == "filling":
        st.warning(_("向量集合是新建的，正在重新建立索引：目前只能搜到一部分商品。"))
    if health.outbox.failed:
        failed = _("有 {count} 项改动未能建立索引，可在“商品目录”中按状态查看。")
        st.warning(failed.format(count=health.outbox.failed))
    if health.outbox.pending:
        pending = _("有 {count} 项改动正在建立索引，完成后才能搜到。")
        st.info(pending.format(count=health.outbox.pending))
    return health


@st.fragment(run_every=3)
def _wait_for_service(client: ApiClient) -> None:
    """Ask again every few seconds, or at once by the button; the page is back by itself."""
    asked = st.button(_("重试"), key="retry", icon=":material/refresh:")
    st.caption(_("正在等待 API 恢复，恢复后页面会自己刷新。"))
    with suppress(ApiUnreachable, ApiError, ValueError):
        client.get_health()
        st.rerun()
    if asked:
        st.caption(_("还是连不上。"))


def show_encoder(health: Health | None) -> None:
    """Which encoder the service runs, in a sentence."""
    if health is None:
        return
    name = health.encoders.name
    if name == "starter":
        with st.expander(_("现在用的是小模型"), icon=":material/info:"):
            st.caption(_(STARTER_NOTE))
    else:
        runs = _("编码器：{name}，运行于 {device}。")
        st.caption(runs.format(name=encoder_name(name), device=health.encoders.device))


def encoder_name(name: str) -> str:
    """The encoder's name for people, as Markdown."""
    return plain(_(ENCODER_NAMES.get(name, name)))


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
    low = _price_input(left, _("最低价"), f"{prefix}_min_price")
    high = _price_input(right, _("最高价"), f"{prefix}_max_price")
    if low is not None and high is not None and low > high:
        st.caption(f":orange[{_('最低价高于最高价，已对调。')}]")
        return high, low
    return low, high


def _price_input(place: Any, label: str, key: str) -> Decimal | None:
    value = place.number_input(
        label,
        min_value=0.0,
        max_value=MAX_PRICE,
        value=None,
        step=1.0,
        format="%.2f",
        placeholder=_("不限"),
        key=key,
        persist_state="session",
    )
    return None if value is None else Decimal(f"{value:.2f}")


def json_object(text: str) -> dict[str, Any]:
    """The JSON object of the text, such as can be sent; a ValueError says why not."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # fails for what UTF-8 can't carry
    except json.JSONDecodeError as error:
        reason = _("不是有效的 JSON：第 {line} 行第 {column} 列")
        raise ValueError(reason.format(line=error.lineno, column=error.colno)) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(_("不是有效的 JSON：有无法保存的数值或字符，或嵌套过深")) from error
    if not isinstance(value, dict):
        raise ValueError(_('应为 JSON 对象，例如 {"颜色": "红"}'))
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are given."""
    return {name: value for name, value in values.items() if value is not None}
