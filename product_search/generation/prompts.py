"""What a generator is told: the words of a person or of a product, within a style."""

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


class Described(NamedTuple):
    """What of a product is put into words."""

    title: str
    category: str | None
    attributes: Mapping[str, Any]


def subject(words: str | None, product: Described | None) -> str:
    """What the image is to show: what its fit is judged by."""
    parts = [product.title if product else "", words or ""]
    return _BETWEEN.join(part.strip() for part in parts if part.strip())


def prompt(words: str | None, product: Described | None, style: GenerationStyle | None) -> str:
    """The subject, then what else is known of the product, then the style, always whole.

    What would make it longer than MAX_PROMPT is left out: attributes, the last first; then the
    subject is cut.
    """
    end = f"{_BETWEEN}{_STYLES[style]}" if style else ""
    room = MAX_PROMPT - len(end)
    text = subject(words, product)[:room]
    for part in _facts(product) if product else []:
        if len(text) + len(_BETWEEN) + len(part) > room:
            break
        text += _BETWEEN + part
    return text + end


def negative_prompt(words: str | None, style: GenerationStyle | None) -> str | None:
    """What is not to be seen: the words, and what the style rules out; None where nothing is."""
    parts = [words.strip() if words else "", _NOT_IN_STYLE[style] if style else ""]
    return _BETWEEN.join(part for part in parts if part)[:MAX_PROMPT] or None


def _facts(product: Described) -> list[str]:
    """The category where the title does not say it, and the attributes that are plain values."""
    facts = []
    if product.category and product.category not in product.title:
        facts.append(product.category)
    for name, value in product.attributes.items():
        values = value if isinstance(value, list) else [value]
        said = "、".join(str(one) for one in values if _is_said(one))
        if said:
            facts.append(f"{name}{said}")
    return facts


def _is_said(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
