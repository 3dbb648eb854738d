"""Groups of duplicates as their page shows them: by a threshold of its own, with their products."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from data_models import DuplicateGroup, DuplicatePair, ProductOut, Why
from product_search.client import ApiClient, ApiError
from product_search.demo.language import N_
from product_search.grouping import group_pairs

WHY_NAMES = {
    Why.same_file: N_("同一图片文件"),
    Why.same_title: N_("同标题同品牌"),
    Why.perceptual_hash: N_("图片看上去一样"),
    Why.embedding: N_("图片相近"),
}


class Part(NamedTuple):
    """Products of a group that its strong pairs hold together, in the order of their ids."""

    product_ids: list[int]
    pairs: list[DuplicatePair]

    def closest(self, product_id: int) -> DuplicatePair:
        """The strongest of the pairs that this product is in."""
        ours = [pair for pair in self.pairs if product_id in pair.product_ids]
        return max(ours, key=lambda pair: pair.similarity)


def parts(group: DuplicateGroup, threshold: float) -> list[Part]:
    """What the group falls into without the pairs that are less alike than the threshold."""
    strong = [pair for pair in group.pairs if pair.similarity >= threshold]
    return [
        Part(ids, [pair for pair in strong if pair.product_ids[0] in ids])
        for ids in group_pairs(pair.product_ids for pair in strong)
    ]


@st.cache_data(ttl=10, show_spinner=False)
def product_or_none(_client: ApiClient, url: str, product_id: int) -> ProductOut | None:
    """The product, at most some seconds old; None once it is gone. `url` tells APIs apart.

    Raises what the client raises of anything else.
    """
    try:
        return _client.get_product(product_id)
    except ApiError as error:
        if error.body.code == "product_not_found":
            return None
        raise
