"""Prompts: the words of a person and of a product, within a style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from data_models import GenerationStyle

# Of a prompt, in characters: text encoders of 256 tokens or more read it whole.
MAX_PROMPT = 240
_BETWEEN = "，"
_STYLES: dict[GenerationStyle, str] = {
    GenerationStyle.main: "电商白底主图，单件商品居中，纯白背景，柔和均匀的影棚光，清晰对焦",
    GenerationStyle.scene: "真实使用场景，自然光，环境整洁，景深柔和，商品是画面主体",
    GenerationStyle.detail: "局部特写，材质与做工清晰可见，微距镜头，浅景深",
    GenerationStyle.poster: "商业海报构图，色彩鲜明，留白充足，富有设计感",
}
_NOT_IN_STYLE: dict[GenerationStyle, str] = {
    GenerationStyle.main: "文字，水印，人物，杂乱的背景",
    GenerationStyle.scene: "文字，水印，纯色背景",
    GenerationStyle.detail: "文字，水印，全景",
    GenerationStyle.poster: "水印，模糊的文字",
}


class ProductFacts(NamedTuple):
    """What of a product is put into a prompt."""

    title: str
    category: str | None
    attributes: Mapping[str, Any]


def build_subject(words: str | None, product: ProductFacts | None) -> str:
    """Return what the image is to show, by which its fit is scored."""
    parts = [product.title if product else "", words or ""]
    return _BETWEEN.join(part.strip() for part in parts if part.strip())


def build_prompt(
    words: str | None, product: ProductFacts | None, style: GenerationStyle | None
) -> str:
    """Join the subject, what else is known of the product, and the style, always whole.

    What would make the prompt longer than MAX_PROMPT is left out: attributes, the last first;
    then the subject is cut.
    """
    end = f"{_BETWEEN}{_STYLES[style]}" if style else ""
    room = MAX_PROMPT - len(end)
    text = build_subject(words, product)[:room]
    for part in _facts(product) if product else []:
        if len(text) + len(_BETWEEN) + len(part) > room:
            break
        text += _BETWEEN + part
    return text + end


def build_negative_prompt(words: str | None, style: GenerationStyle | None) -> str | None:
    """Join the words and what the style rules out; None where there is neither."""
    parts = [words.strip() if words else "", _NOT_IN_STYLE[style] if style else ""]
    return _BETWEEN.join(part for part in parts if part)[:MAX_PROMPT] or None


def _facts(product: ProductFacts) -> list[str]:
    """List the category, unless the title says it, and the attributes with plain values."""
    facts = []
    if product.category and product.category not in product.title:
        facts.append(product.category)
    for name, value in product.attributes.items():
        values = value if isinstance(value, list) else [value]
        text = "、".join(str(value) for value in values if _is_plain(value))
        if text:
            facts.append(f"{name}{text}")
    return facts


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
