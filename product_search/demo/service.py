"""The service behind the pages: its client, its state, and the labels of its catalog."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import streamlit as st

from data_models import Health, PictureOfGeneration, ProductListQuery
from product_search.client import ApiClient, ApiError, ApiUnreachable
from product_search.demo.errors import show_errors
from product_search.demo.html import plain
from product_search.demo.language import N_, _
from product_search.demo.operators import current_caller, current_operator, whose
from product_search.settings import Settings

ENCODER_NAMES = {"starter": N_("项目自带的小模型（starter）"), "chinese-clip": "Chinese-CLIP"}
STARTER_NOTE = N_(
    "现在作答的是项目自带的小模型（starter），准确度有限；在 API 所在的机器上运行 "
    "`python -m product_search.manage download-models` 下载 Chinese-CLIP，"
    "再运行 `python -m product_search.manage reindex --encoder chinese-clip` 换用它。"
)
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # addresses that this machine alone reaches
# Enough to choose from; the boxes take any other value too.
_LABELLED_PRODUCTS = 1000


class Labels(NamedTuple):
    """The categories and brands that the catalog's products have, sorted."""

    categories: list[str]
    brands: list[str]


@st.cache_resource(on_release=ApiClient.close, show_spinner=False)
def _page_client(url: str) -> ApiClient:
    settings = Settings()
    key = settings.api_key
    return ApiClient(url, settings.api_public_url, key.get_secret_value() if key else None)


def open_client() -> ApiClient:
    """Return the operator's own client of the configured API; stop the page without an address.

    Where nobody has signed in it is the client with the page's key, which such sessions share.
    """
    operator = current_operator()
    if operator is not None:
        return operator.client
    try:
        return _page_client(Settings().api_url)
    except ValueError as error:  # pydantic's and httpx's alike
        wrong = _("设置有误，请检查环境变量 PRODUCT_SEARCH_* 与 .env：{error}")
        st.error(wrong.format(error=plain(str(error))))
        st.stop()


# The catalog's labels and titles


@st.cache_data(ttl=60, show_spinner=False)
def known_labels(_client: ApiClient, reader: str) -> Labels:
    """Return the labels of the catalog's first products, at most a minute old.

    Args:
        _client: the client to ask.
        reader: whose answers are kept, as `whose` tells.

    Raises:
        ApiError, ApiUnreachable, ValueError: As ApiClient does.
    """
    categories, brands, last, seen = set(), set(), 0, 0
    while seen < _LABELLED_PRODUCTS:
        items = _client.list_products(ProductListQuery(after_id=last, page_size=100)).items
        if not items:
            break
        categories |= {item.category for item in items if item.category}
        brands |= {item.brand for item in items if item.brand}
        last, seen = items[-1].product_id, seen + len(items)
    return Labels(sorted(categories), sorted(brands))


def labels_or_none(client: ApiClient) -> Labels:
    """Return the known labels, or none where the API fails: the page's head shows its error."""
    try:
        return known_labels(client, whose(client))
    except (ApiUnreachable, ApiError, ValueError):
        return Labels([], [])


def product_title(client: ApiClient, product_id: int) -> str | None:
    """Return the product's title, at most a minute old; None where the API can't tell it."""
    return known_title(client, whose(client), product_id)


@st.cache_data(ttl=60, show_spinner=False)
def known_title(_client: ApiClient, reader: str, product_id: int) -> str | None:
    """Return what `product_title` does; `reader` as in `known_labels`."""
    try:
        return _client.get_product(product_id).title
    except (ApiUnreachable, ApiError, ValueError):
        return None


def generated_image_url(client: ApiClient, image: PictureOfGeneration, size: int) -> str:
    """Return the address of a generated image's thumbnail; of none where the API can't tell it."""
    path = _generated_path(client, whose(client), image.generation_id, image.number)
    return client.public_url(path, size=size) if path else ""


@st.cache_data(ttl=60, show_spinner=False)
def _generated_path(_client: ApiClient, reader: str, generation_id: int, number: int) -> str | None:
    try:
        pictures = _client.get_generation(generation_id).pictures
    except (ApiUnreachable, ApiError, ValueError):
        return None
    return next((one.image_url for one in pictures if one.number == number), None)


# The state of the service


def show_service(client: ApiClient) -> Health | None:
    """Show what is wrong with the service, if anything; None where it does not answer."""
    health = None
    with show_errors():
        health = client.get_health()
    if health is None:
        _wait_for_service(client)
        return None
    for warning in health.warnings or _own_warnings():
        st.warning(plain(warning), icon=":material/lock_open:")
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


def _own_warnings() -> list[str]:
    """Return that whoever reaches the page may write, where more than this machine does."""
    caller, address = current_caller(), st.get_option("server.address")
    if caller is None or caller.key_id is not None or address in LOOPBACK:
        return []
    return [
        _(
            "本机以外也能打开这个网页，而 API 不要求密钥：谁都能修改、删除商品。"
            "请给 API 设 PRODUCT_SEARCH_REQUIRE_KEYS=true，或让网页只在 127.0.0.1 上。"
        )
    ]


@st.fragment(run_every=3)
def _wait_for_service(client: ApiClient) -> None:
    """Ask again every few seconds, or at once by the button; an answer reruns the page."""
    is_pressed = st.button(_("重试"), key="retry", icon=":material/refresh:")
    st.caption(_("正在等待 API 恢复，恢复后页面会自己刷新。"))
    with suppress(ApiUnreachable, ApiError, ValueError):
        client.get_health()
        st.rerun()
    if is_pressed:
        st.caption(_("还是连不上。"))


def show_encoder(health: Health | None) -> None:
    """Show which encoder the service runs."""
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
    """Return the encoder's name for people, as Markdown."""
    return plain(_(ENCODER_NAMES.get(name, name)))
