"""Variants: the group of a product that is sold in several sizes or colours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from data_models import MAX_LABEL

# Attributes in which shops write which model it is that this product is a size or colour of, the
# surest first; compared without signs and case.
_NAMES = (
    "款号 款號 主款号 款式编号 款式编码 款式号 spu spu编码 spu编号 spuid 商品组 商品组编号 "
    "item_group_id product_group parent_sku style_code style_number style_no 货号 貨號"
)
_ORDER = {name.replace("_", ""): place for place, name in enumerate(_NAMES.split())}
# 无, 见详情 and the like name nothing; nor do these.
_IS_CODE = re.compile(r"[0-9A-Za-z]")
_NO_CODES = {"na", "none", "null", "nil", "other", "default", "tbd"}


def named_group(brand: str | None, attributes: Mapping[str, Any]) -> str | None:
    """Return the group that the attributes name, such as 款号, after the brand.

    The brand is part of it, since two brands may number their models alike. None where no
    attribute has a code of at most MAX_LABEL characters, brand included.
    """
    named = sorted(
        (_ORDER[name], str(value).strip())
        for key, value in attributes.items()
        if (name := _folded(key)) in _ORDER and type(value) in (str, int)
    )
    groups = (f"{brand} {code}" if brand else code for _, code in named if _is_code(code))
    return next((group for group in groups if len(group) <= MAX_LABEL), None)


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _is_code(value: str) -> bool:
    """Return whether the value tells models apart: it has a letter or digit, and is no 0 or N/A."""
    code = _folded(value).strip("0")
    return _IS_CODE.search(code) is not None and code not in _NO_CODES
