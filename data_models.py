"""Ground floor: what the API takes and gives."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

MAX_TITLE = 500
MAX_QUERY = 512
MAX_LABEL = 100
MAX_DESCRIPTION = 5000
MAX_ATTRIBUTES_SIZE = 16_000
MAX_TOP_K = 100
MAX_OFFSET = 10_000
INT64_MAX = 2**63 - 1
PRICE_PATTERN = r"^[0-9]{1,10}(\.[0-9]{1,2})?$"

# Control, format, surrogate and separator characters: a text of only these shows nothing.
_INVISIBLE = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"}


def is_blank(text: str) -> bool:
    """Whether a person would see nothing at all in the text."""
    return all(unicodedata.category(char) in _INVISIBLE for char in text)


def _not_blank(text: str) -> str:
    if is_blank(text):
        raise ValueError("不能为空白")
    return text


def _parse_price(value: object) -> Decimal:
    """A number or decimal string as an exact amount with at most two decimals."""
    if isinstance(value, Decimal):
        text = format(value, "f")
    elif isinstance(value, (int, float, str)) and not isinstance(value, bool):
        text = str(value)
    else:
        raise ValueError("应为数字或十进制字符串")
    # A JSON float such as 12.0 or 12.50 arrives as 12.0 or 12.5; both match as they are.
    if re.match(PRICE_PATTERN, text, re.ASCII) is None or text.endswith("\n"):
        raise ValueError("应为不小于 0 的十进制数，整数最多 10 位，小数最多 2 位")
    return Decimal(text).quantize(Decimal("0.01"))


def _check_json(value: object, depth: int = 0) -> None:
    """Refuse what the two stores can't both keep: NaN, infinity, huge integers, lone surrogates."""
    if depth > 8:
        raise ValueError("嵌套过深(最多 8 层)")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("不能含 NaN 或无穷大")
    if isinstance(value, int) and abs(value) > INT64_MAX:
        raise ValueError("整数超出 64 位范围")
    if isinstance(value, str) and any(unicodedata.category(char) == "Cs" for char in value):
        raise ValueError("含有不完整的 Unicode 字符")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_json(key, depth + 1)
            _check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, depth + 1)


def _check_attributes(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    _check_json(value)
    if len(str(value)) > MAX_ATTRIBUTES_SIZE:
        raise ValueError(f"过大(最多 {MAX_ATTRIBUTES_SIZE} 个字符)")
    return value


Price = Annotated[
    Decimal,
    BeforeValidator(_parse_price),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": PRICE_PATTERN}]},
        mode="validation",
    ),
    WithJsonSchema({"type": "string", "examples": ["129.00"]}, mode="serialization"),
]
Title = Annotated[str, Field(min_length=1, max_length=MAX_TITLE), AfterValidator(_not_blank)]
Label = Annotated[str, Field(min_length=1, max_length=MAX_LABEL), AfterValidator(_not_blank)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION)]
Attributes = Annotated[dict[str, JsonValue], AfterValidator(_check_attributes)]
ProductId = Annotated[int, Field(ge=1, le=INT64_MAX)]

_PRODUCT_EXAMPLE: dict[str, Any] = {
    "sku": "BAG-0001",
    "title": "红色双肩包 大容量学生书包 15.6 英寸",
    "description": "防泼水面料，可放 15.6 英寸笔记本电脑。",
    "category": "箱包",
    "brand": "拾光",
    "price": "129.00",
    "attributes": {"颜色": "红", "容量": "25L"},
}


class Strict(BaseModel):
    """A request body: unknown fields are refused, strings are kept as given."""

    model_config = ConfigDict(extra="forbid")


class ProductCreate(Strict):
    """A new product; only `title` is required."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PRODUCT_EXAMPLE]})

    title: Title = Field(description="商品标题,1–500 个字符，原样保存")
    sku: Label | None = Field(None, description="商家自己的编号，唯一")
    description: Description | None = None
    category: Label | None = None
    brand: Label | None = None
    price: Price | None = Field(None, description="不小于 0,最多两位小数；数字或十进制字符串")
    attributes: Attributes = Field(default_factory=dict, description="任意 JSON 对象")
    image_base64: str | None = Field(None, description="图片的 base64,或 data URI")


class ProductPatch(Strict):
    """The fields to change; those not given stay as they are, `null` clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price": 99.9, "brand": None}]})

    title: Title | None = None
    sku: Label | None = None
    description: Description | None = None
    category: Label | None = None
    brand: Label | None = None
    price: Price | None = None
    attributes: Attributes | None = None
    image_base64: str | None = Field(None, description="新图片；null 表示删除图片")

    @field_validator("title")
    @classmethod
    def _title_is_required(cls, value: str | None) -> str:
        if value is None:
            raise ValueError("不能为 null")
        return value


class IndexStatus(StrEnum):
    """Whether the vectors in Milvus are those of the product's current revision."""

    pending = "pending"
    indexed = "indexed"
    failed = "failed"


class ProductOut(BaseModel):
    """A product as the API shows it."""

    product_id: int
    sku: str | None
    title: str
    description: str | None
    category: str | None
    brand: str | None
    price: Price | None
    attributes: dict[str, JsonValue]
    image_url: str | None = Field(description="`/product/{product_id}/image`,没有图片时为 null")
    milvus_id: str = Field(description="向量在 Milvus 中的主键(63 位整数，以字符串给出)")
    revision: int
    index_status: IndexStatus
    index_error: str | None = Field(description="index_status 为 failed 时的原因")
    created_at: datetime
    updated_at: datetime


class ListSort(StrEnum):
    """Orders of `GET /product/list`; ties are broken by product_id."""

    newest = "newest"
    oldest = "oldest"
    price_asc = "price_asc"
    price_desc = "price_desc"


class ProductPage(BaseModel):
    """One page of the catalogue."""

    items: list[ProductOut]
    total: int = Field(description="符合条件的商品总数")
    page: int
    page_size: int


class SearchMode(StrEnum):
    """What is compared with what; the user's A2, A4, A1, A3."""

    text_to_text = "text_to_text"
    text_to_image = "text_to_image"
    image_to_image = "image_to_image"
    image_to_text = "image_to_text"

    @property
    def takes_text(self) -> bool:
        """Whether the query is a text (else it is an image)."""
        return self in (SearchMode.text_to_text, SearchMode.text_to_image)


class VectorField(StrEnum):
    """The vector fields of an entity."""

    image_clip = "image_clip_vector"
    text_clip = "text_clip_vector"
    text_bge = "text_bge_vector"


class Hit(NamedTuple):
    """What recall gives for one entity; a higher score is nearer."""

    milvus_id: int
    score: float
    field: VectorField


class PriceRange(Strict):
    """Both ends included; at least one is given."""

    gte: Price | None = None
    lte: Price | None = None

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        if self.gte is None and self.lte is None:
            raise ValueError("gte 与 lte 至少给出一个")
        if self.gte is not None and self.lte is not None and self.gte > self.lte:
            raise ValueError("gte 不能大于 lte")
        return self


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Labels = Annotated[
    list[Label],
    Field(min_length=1, max_length=100),
    BeforeValidator(_as_list, json_schema_input_type=Label | list[Label]),
]


class SearchFilters(Strict):
    """Conditions that every hit meets; values match whole, case-sensitively."""

    category: Labels | None = None
    brand: Labels | None = None
    price: PriceRange | None = None


class ProductListQuery(Strict):
    """The query string of `GET /product/list`."""

    page: int = Field(1, ge=1, le=1_000_000)
    page_size: int = Field(20, ge=1, le=100)
    category: Label | None = Field(None, description="分类，完全一致")
    brand: Label | None = Field(None, description="品牌，完全一致")
    min_price: Price | None = None
    max_price: Price | None = None
    q: str | None = Field(None, min_length=1, max_length=MAX_TITLE, description="标题中的原文")
    index_status: IndexStatus | None = None
    sort: ListSort = ListSort.newest
    after_id: int | None = Field(
        None,
        ge=0,
        le=INT64_MAX,
        description="只取 product_id 更大的商品，按 product_id 升序；从 0 起可走遍整个目录",
    )

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        low, high = self.min_price, self.max_price
        if low is not None and high is not None and low > high:
            raise ValueError("min_price 不能大于 max_price")
        return self

    @model_validator(mode="after")
    def _walk_or_page(self) -> Self:
        if self.after_id is not None:
            if self.model_fields_set & {"page", "sort"}:
                raise ValueError("after_id 不能与 page 或 sort 同时使用")
            self.sort = ListSort.oldest
        return self

    def filters(self) -> SearchFilters:
        """The conditions that searches have too."""
        return SearchFilters(
            category=self.category and [self.category],
            brand=self.brand and [self.brand],
            price=self._prices(),
        )

    def _prices(self) -> PriceRange | None:
        if self.min_price is None and self.max_price is None:
            return None
        return PriceRange(gte=self.min_price, lte=self.max_price)


_INPUTS = {"text": "text", "image": "image_base64（或文件 image）"}


class SearchRequest(Strict):
    """A query by exactly one of text, image or product_id, as `mode` needs it."""

    mode: SearchMode
    text: Annotated[str, Field(min_length=1, max_length=MAX_QUERY), AfterValidator(_not_blank)] | (
        None
    ) = None
    image_base64: str | None = Field(None, description="图片的 base64,或 data URI")
    product_id: ProductId | None = Field(None, description="用该商品的标题或图片作为查询")
    top_k: int = Field(10, ge=1, le=MAX_TOP_K)
    offset: int = Field(0, ge=0, le=MAX_OFFSET)
    filters: SearchFilters = Field(default_factory=SearchFilters)

    @model_validator(mode="after")
    def _one_input_that_fits(self, info: ValidationInfo) -> Self:
        """The context's `upload` says that a file `image` came beside these fields."""
        uploaded = bool((info.context or {}).get("upload"))
        given = {"text": self.text is not None, "image": uploaded or self.image_base64 is not None}
        wanted, other = ("text", "image") if self.mode.takes_text else ("image", "text")
        if given[other]:
            raise ValueError(f"{self.mode} 不接受 {_INPUTS[other]}")
        if given[wanted] == (self.product_id is not None):
            raise ValueError(f"{self.mode} 需要 {_INPUTS[wanted]} 或 product_id，且只能给出一个")
        return self


class SearchHit(BaseModel):
    """A product found, best first."""

    rank: int = Field(description="从 1 起，含 offset")
    score: float = Field(description="余弦相似度，越大越近")
    matched_field: VectorField
    product: ProductOut


class TookMs(BaseModel):
    """Milliseconds by stage."""

    decode: float
    encode: float
    recall: float
    hydrate: float
    total: float


class SearchResponse(BaseModel):
    """Hits in Milvus's order, hydrated from the relational store."""

    mode: SearchMode
    hits: list[SearchHit]
    encoder: str = Field(description="作答的编码器：starter 或 chinese-clip")
    dropped: int = Field(description="召回后因数据库中已无对应商品(或已改动)而舍去的向量数")
    took_ms: TookMs


class EncoderInfo(BaseModel):
    """Which encoders answer, and where they run."""

    name: str
    fingerprint: str
    device: str


class OutboxCounts(BaseModel):
    """Index work that waits, and that was given up."""

    pending: int
    failed: int


class Health(BaseModel):
    """`down` (503): the catalogue can't be served; `degraded`: search or indexing can't."""

    status: Literal["ok", "degraded", "down"]
    database: Literal["ok", "down"]
    vector_store: Literal["ok", "down"]
    encoders: EncoderInfo
    outbox: OutboxCounts


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    code: str
    message: str
    fields: dict[str, str] | None = Field(None, description="出错的字段及原因")
