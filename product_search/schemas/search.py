"""Search requests and responses."""

from __future__ import annotations

import operator
import unicodedata
from enum import StrEnum
from typing import Annotated, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from product_search.schemas import examples, rules
from product_search.schemas.fields import (
    MAX_OFFSET,
    MAX_QUERY,
    MAX_TOP_K,
    Flag,
    ImageUrl,
    Number,
    ProductId,
    Query,
    Strict,
    Upload,
    Whole,
)
from product_search.schemas.filters import Facets, SearchFilters
from product_search.schemas.generation import PictureOfGeneration
from product_search.schemas.products import ProductOut
from product_search.schemas.understanding import Interpretation, Understand, Understanding

MAX_PARTS = 16
MAX_TEXT = 4 * MAX_QUERY  # characters of all texts of a composed query together
MAX_CURSOR = 200_000  # characters: of 10,000 products seen


class SearchMode(StrEnum):
    """What is compared with what, the user's A2, A4, A1, A3; and all of them together."""

    text_to_text = "text_to_text"
    text_to_image = "text_to_image"
    image_to_image = "image_to_image"
    image_to_text = "image_to_text"
    hybrid = "hybrid"

    @property
    def takes_text(self) -> bool:
        """Whether the query is a text alone."""
        return self in (SearchMode.text_to_text, SearchMode.text_to_image)


class Leg(StrEnum):
    """One way to look for products: terms, or one encoder on one field."""

    bm25 = "bm25"
    text_to_text = "text_to_text"
    text_to_image = "text_to_image"
    image_to_image = "image_to_image"
    image_to_text = "image_to_text"

    @property
    def takes_text(self) -> bool:
        """Whether the leg searches for the query's texts; else for its images."""
        return self in (Leg.bm25, Leg.text_to_text, Leg.text_to_image)


class VectorField(StrEnum):
    """The vector fields of an entity; all are dense but the last, which Milvus makes itself."""

    image_clip = "image_clip_vector"
    text_clip = "text_clip_vector"
    text_bge = "text_bge_vector"
    text_bm25 = "text_bm25_vector"


DENSE_FIELDS: tuple[VectorField, ...] = tuple(VectorField)[:-1]


class SearchSort(StrEnum):
    """Orders of the products that fit the query; what does not fit is in none of them."""

    relevance = "relevance"
    price_asc = "price_asc"
    price_desc = "price_desc"
    newest = "newest"


def _not_zero(weight: float) -> float:
    if weight == 0:
        raise ValueError("不能为 0")
    return weight


def _folded(text: str | None) -> str | None:
    """Return the text without differences of width, case and outer space."""
    return text and unicodedata.normalize("NFKC", text).casefold().strip()


class Thing(NamedTuple):
    """What a query is made of: one of these."""

    text: str | None = None
    image_base64: str | None = None
    image_url: str | None = None
    generation: PictureOfGeneration | None = None
    product_id: int | None = None


class QueryPart(Strict):
    """One of the things that a composed query is made of: a text, a picture or a product."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [rules.one_of("text", "image_base64", "image_url", "generation", "product_id")]
        }
    )

    text: Query | None = None
    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")
    image_url: ImageUrl | None = None
    generation: PictureOfGeneration | None = Field(None, description="POST /generate 的图片")
    product_id: ProductId | None = Field(None, description="以该商品的图片为例；没有图片则用标题")
    weight: Annotated[Number, Field(ge=-1, le=1), AfterValidator(_not_zero)] = Field(
        1.0,
        json_schema_extra={"not": {"const": 0}},
        description="负数：不要这样的。从查询的向量里减去它的 0.3 倍乘权重；"
        "词里有不要的文字的商品、以及不要的商品本身，不论权重多小都不列出",
    )
    image: Upload = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if sum(one is not None for one in (*self.thing, self.image)) != 1:
            raise ValueError(
                "text、image_base64、image_url、generation、product_id 须给出一个，且只能一个"
            )
        return self

    @property
    def thing(self) -> Thing:
        """What the part is, whatever its weight."""
        return Thing(
            _folded(self.text),
            self.image_base64,
            self.image_url,
            self.generation,
            self.product_id,
        )


_INPUTS = {"text": "text", "image": "image_base64（或文件 image）、image_url、generation"}
Place = Annotated[Whole, Field(ge=0, le=100_000)]
Side = Annotated[Whole, Field(ge=1, le=100_000)]
LegWeight = Annotated[Number, Field(ge=0, le=10)]


class SearchRequest(Strict):
    """A query by text, picture or product; where `mode` is left out it follows from these."""

    model_config = ConfigDict(
        json_schema_extra={"examples": examples.SEARCHES, "allOf": rules.SEARCH}
    )

    mode: SearchMode | None = Field(
        None,
        description="默认：有文字或商品时为 hybrid，只有图片时为 image_to_image。"
        "只有 hybrid 改正错字、用同义词、理解价格与“不要……”；其余四种原样使用文字",
    )
    text: Query | None = None
    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")
    image_url: ImageUrl | None = None
    generation: PictureOfGeneration | None = Field(
        None, description="用 POST /generate 的一张图片作为查询，代替 image_base64"
    )
    product_id: ProductId | None = Field(None, description="用该商品的标题或图片作为查询")
    parts: list[QueryPart] | None = Field(
        None,
        min_length=1,
        max_length=MAX_PARTS,
        description="组合查询：多个文字、图片、商品，各有权重；只用于 hybrid",
    )
    region: tuple[Place, Place, Side, Side] | None = Field(
        None, description="只用图片的一部分：[x, y, w, h]，像素，以正立的图片的左上角为原点"
    )
    legs: dict[Leg, LegWeight] | None = Field(
        None, description="hybrid 各路的权重，0 关闭；未列出的用默认值"
    )
    top_k: Whole = Field(10, ge=1, le=MAX_TOP_K)
    offset: Whole = Field(0, ge=0, le=MAX_OFFSET)
    cursor: str | None = Field(
        None, min_length=1, max_length=MAX_CURSOR, description="上一页的 next_cursor"
    )
    filters: SearchFilters = Field(default_factory=SearchFilters)
    min_confidence: Number | None = Field(
        None,
        ge=0,
        le=1,
        description="默认：最好一个的若干成，而它须达到校准时定下的界线；0：给出一切",
    )
    correct: Flag = Field(
        True, description="hybrid：拼音、同音的错字与拼错的字母词按商品里的词改正，没把握的只建议"
    )
    understand: Understand = Field(
        default_factory=Understanding,
        description="hybrid：把文字里价格的词当作筛选、分出“不要……”，回答里的 interpreted 会说明。"
        'false：文字怎样写就怎样找；{"price": false}：只有价格的词按原词找',
        json_schema_extra={"default": True},
    )
    sort: SearchSort = SearchSort.relevance
    collapse: Flag = Field(
        True,
        description="同一个 group 的商品只列最符合的一个（按价格或时间排序时为最先的一个），"
        "total、翻页与 facets 按组计；false：各列各的",
    )
    facets: Flag = Field(
        False, description="回答里附上符合查询的商品按分类、品牌、价位、各属性的个数"
    )
    explain: Flag = Field(False, description="回答里说明每个商品从哪来、为何排在这里")
    image: Upload = None

    @property
    def chosen_mode(self) -> SearchMode:
        """The mode as given, else as it follows from the inputs."""
        if self.mode is not None:
            return self.mode
        is_hybrid = self.text is not None or self.product_id is not None or self.parts
        return SearchMode.hybrid if is_hybrid else SearchMode.image_to_image

    @property
    def image_count(self) -> int:
        """How many images are decoded for the request at most."""
        parts = self.parts or ()
        given = [part.text for part in parts]
        single = (self.image, self.image_base64, self.image_url, self.generation, self.product_id)
        return given.count(None) + sum(one is not None for one in single)

    @property
    def text_length(self) -> int:
        """How many characters of the request itself are encoded."""
        texts = [self.text, *(part.text for part in self.parts or ())]
        return sum(len(text or "") for text in texts)

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        has_bytes = self.image is not None or self.image_base64 is not None
        images = has_bytes + (self.image_url is not None) + (self.generation is not None)
        if images > 1:
            raise ValueError("image_base64（或文件 image）、image_url、generation 只能给出一个")
        has_image = images == 1
        if self.chosen_mode is SearchMode.hybrid:
            self._check_hybrid(has_image)
        else:
            self._check_single(has_image)
        if self.region is not None:
            self._check_region(has_image)
        if self.cursor is not None and "offset" in self.model_fields_set:
            raise ValueError("cursor 与 offset 不能同时给出")
        return self

    def _check_single(self, has_image: bool) -> None:
        mode = self.chosen_mode
        for name in ("parts", "legs"):
            if getattr(self, name) is not None:
                raise ValueError(f"{mode} 不接受 {name}：请用 hybrid")
        given = {"text": self.text is not None, "image": has_image}
        wanted, other = ("text", "image") if mode.takes_text else ("image", "text")
        if given[other]:
            raise ValueError(f"{mode} 不接受 {_INPUTS[other]}")
        if given[wanted] == (self.product_id is not None):
            raise ValueError(f"{mode} 需要 {_INPUTS[wanted]} 或 product_id，且只能给出一个")

    def _check_hybrid(self, has_image: bool) -> None:
        parts = self.parts or []
        plain = self.text is not None or has_image or self.product_id is not None
        if not plain and not parts:
            raise ValueError(f"hybrid 需要 text、{_INPUTS['image']}、product_id 或 parts")
        if not plain and all(part.weight < 0 for part in parts):
            raise ValueError("parts：只有负权重，没有要找的东西")
        wanted = {part.thing for part in parts if part.weight > 0}
        wanted |= {Thing(text=_folded(self.text)), Thing(product_id=self.product_id)}
        wanted |= {Thing(generation=self.generation), Thing(image_url=self.image_url)}
        if sum(len(part.text or "") for part in parts) > MAX_TEXT:
            raise ValueError(f"parts：文字合计最多 {MAX_TEXT} 个字符")
        if any(part.thing in wanted for part in parts if part.weight < 0):
            raise ValueError("parts：同一个内容不能既要又不要")

    def _check_region(self, has_image: bool) -> None:
        of_product = self.product_id is not None and not self.chosen_mode.takes_text
        if not has_image and not of_product:
            raise ValueError("region 需要图片")


class LegExplain(BaseModel):
    """What one leg has added to a hit's fused score."""

    leg: Leg
    rank: int
    score: float = Field(description="余弦相似度；bm25 是 BM25 分")
    contribution: float = Field(description="占融合分的多少")


class HitExplain(BaseModel):
    """Why a product is where it is."""

    legs: list[LegExplain]
    features: dict[str, float] = Field(description="confidence 由这些算出")
    rank_without_filters: int | None = Field(
        None, description="没有 filters 时的名次；null：没有给出 filters，或按别的顺序排"
    )


class SearchHit(BaseModel):
    """A product found, best first."""

    rank: int = Field(description="从 1 起，含 offset")
    score: float = Field(description="余弦相似度，hybrid 为融合分；越大越近")
    confidence: float | None = Field(
        None, description="符合查询的概率，0–1；null：在用的编码器与各路没有校准"
    )
    matched_field: VectorField | None = Field(
        description="hybrid：贡献最大的一路；null：只有价格的词，没有可搜的，按 filters 列出"
    )
    product: ProductOut
    more_in_group: int = Field(
        0,
        description="同一个 group 里还有几个商品也符合，只计看过的范围；collapse: false 时为 0",
    )
    explain: HitExplain | None = None


class TookMs(BaseModel):
    """Milliseconds by stage."""

    decode: float
    wait: float = Field(description="等轮到自己，等一起算的其他搜索")
    encode: float
    recall: float
    fuse: float
    hydrate: float
    total: float


class SearchResponse(BaseModel):
    """The products that fit, best first, hydrated from the relational store."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.SEARCH_ANSWER]})

    mode: SearchMode
    corrected_query: str | None = Field(
        None,
        description="hybrid：按这个词搜索，原词像是拼音、同音的错字或拼错的字母词；"
        "correct: false 按原词",
    )
    did_you_mean: str | None = Field(
        None, description="hybrid：没有按它搜索，也许想找的是它；correct: false 不建议"
    )
    interpreted: list[Interpretation] = Field(
        default_factory=list,
        description="hybrid：哪些词被当作了什么；每种可以用 understand 关闭",
    )
    hits: list[SearchHit]
    total: int = Field(description="符合查询与 filters 的商品数，同组的算一个")
    total_is_exact: bool = Field(
        description="false：total 是下限：更远的没有再看，或还有商品待索引"
    )
    next_cursor: str | None = Field(None, description="下一页；null：没有了")
    no_match: bool = Field(False, description="没有商品达到 min_confidence")
    near_misses: list[SearchHit] = Field(
        default_factory=list, description="no_match 时离得最近的几个"
    )
    min_confidence: float | None = Field(None, description="用的界线；null：没有校准，一切都算")
    facets: Facets | None = None
    total_without_filters: int | None = Field(
        None, description="explain 且有 filters 时：没有 filters 时符合查询的个数"
    )
    encoder: str = Field(description="作答的编码器：starter 或 chinese-clip")
    dropped: int = Field(description="召回后因数据库中已无对应商品（或已改动）而舍去的向量数")
    warnings: list[str] = Field(
        default_factory=list,
        description="图片可用而有不足（例如文件缺了结尾），或价格的词与 filters 矛盾；没有时不出现",
        exclude_if=operator.not_,
    )
    degraded: list[Leg] = Field(
        default_factory=list,
        description="没有作答的各路（向量库有故障）：结果只出自其余各路；各路都没有作答时，"
        "hybrid 的文字若恰是一个 sku，就只列出那个商品，否则为 503。没有时不出现",
        exclude_if=operator.not_,
    )
    took_ms: TookMs
