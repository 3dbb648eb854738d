"""What went wrong, in words for the visitor: the API's errors, its silence, its field names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from data_models import ErrorBody
from product_search.client import ApiError, ApiUnreachable
from product_search.demo.html import plain
from product_search.demo.language import N_, _, language
from product_search.demo.operators import current_operator
from product_search.settings import Settings

IMAGE_ERRORS = (
    "invalid_image",
    "image_too_large",
    "image_too_many_pixels",
    "image_too_complex",
    "payload_too_large",
)
# Without a key, or with none that the API knows.
KEY_ERRORS = ("key_required", "key_invalid")
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
    "group": N_("商品组"),
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


@contextmanager
def show_errors() -> Iterator[None]:
    """Show what the API said, or that it is silent, in place of the block's result."""
    try:
        yield
    except (ApiUnreachable, ApiError, ValueError) as error:
        st.error(error_text(error), icon=":material/error:")


def is_for_all(error: Exception) -> bool:
    """Tell whether what failed so would fail for the next product too: asking on is no use."""
    if isinstance(error, ApiError):
        return error.status in (401, 403)
    return isinstance(error, ApiUnreachable)


def error_text(error: ApiUnreachable | ApiError | ValueError) -> str:
    """Return what happened and what can be done, as Markdown."""
    if isinstance(error, ApiUnreachable):
        return _(
            "无法连接 API（{address}）。请在项目目录运行 `make serve` 启动它；"
            "地址不对时，用环境变量 `PRODUCT_SEARCH_API_URL` 指定。"
        ).format(address=_address())
    if isinstance(error, ApiError):
        if error.body.code == "http_error":
            strange = _("{address} 的回答无法识别（HTTP {status}），请确认它是本项目的 API。")
            return strange.format(address=_address(), status=error.status)
        return _key_text(error.body.code) or _body_text(error.body)
    # Only an answer that is not of our API's shape comes here (pydantic's error).
    return _("{address} 的回答无法识别，请确认它是本项目的 API。").format(address=_address())


def _key_text(code: str) -> str | None:
    """Return what is wrong with the key that was used, if that is what is wrong."""
    if code == "forbidden":
        return _("这把密钥的权限不够，这一步没有做：请用权限更高的密钥登录。")
    if code not in KEY_ERRORS:
        return None
    if current_operator() is not None:
        return _("登录的密钥不再有效：它已被撤销或已过期。请重新登录。")
    if code == "key_required":
        return _(
            "API 只答有密钥的请求，而网页没有密钥：请管理员用 `manage keys create` 建一把只读的，"
            "写进网页的环境变量 `PRODUCT_SEARCH_API_KEY`。"
        )
    return _(
        "API 不认网页自己的密钥（环境变量 `PRODUCT_SEARCH_API_KEY`）：它有误、已被撤销或已过期，"
        "请管理员换一把。"
    )


def _address() -> str:
    """Return the API's address as code: Markdown would link it and the words behind it."""
    return f"`{Settings().api_url.replace('`', '')}`"


def _body_text(body: ErrorBody) -> str:
    if not body.fields:
        return _with_code(body, plain(body.message))
    # The message repeats every field under its name in the API; the list says it in Chinese.
    head = body.message.partition("：")[0]
    reasons = [f"- {field_name(name)}：{plain(why)}" for name, why in body.fields.items()]
    return "\n".join([_with_code(body, f"{plain(head)}："), "", *reasons])


def _with_code(body: ErrorBody, message: str) -> str:
    """Put the code before the message for whoever doesn't read the API's Chinese."""
    return message if language() == "zh" else f"`{body.code}` {message}"


def field_name(name: str) -> str:
    """Return the name for people of an API field such as `filters.brand.0`, as Markdown."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        known = FIELD_NAMES.get(".".join(parts[:length]))
        if known:
            return _(known)
    return plain(name)
