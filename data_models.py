"""Ground floor: what the API takes and gives."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from product_search import api_examples
from product_search.drift_models import (
    DoctorRun as DoctorRun,
    DriftExample as DriftExample,
    DriftKind as DriftKind,
    DriftReport as DriftReport,
    DriftRun as DriftRun,
    DriftTotal as DriftTotal,
)
from product_search.field_types import (
    INT64_MAX as INT64_MAX,
    MAX_DESCRIPTION as MAX_DESCRIPTION,
    MAX_LABEL as MAX_LABEL,
    MAX_OFFSET as MAX_OFFSET,
    MAX_QUERY as MAX_QUERY,
    MAX_TITLE as MAX_TITLE,
    MAX_TOP_K as MAX_TOP_K,
    Attributes as Attributes,
    Description as Description,
    Label as Label,
    Labels as Labels,
    Price as Price,
    ProductId as ProductId,
    Query as Query,
    Strict as Strict,
    Title as Title,
    Whole as Whole,
    is_blank as is_blank,
)
from product_search.filter_models import (
    FacetCount as FacetCount,
    Facets as Facets,
    MomentRange as MomentRange,
    NumberRange as NumberRange,
    PriceBand as PriceBand,
    PriceRange as PriceRange,
    SearchFilters as SearchFilters,
)
from product_search.import_models import (
    BadImportRow as BadImportRow,
    ImportAccepted as ImportAccepted,
    ImportCounts as ImportCounts,
    ImportStatus as ImportStatus,
)


class ProductCreate(Strict):
    """A new product; only `title` is required."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.PRODUCT]})

    title: Title = Field(description="商品标题，1–500 个字符，原样保存")
    sku: Label | None = Field(None, description="商家自己的编号，唯一")
    description: Description | None = None
    category: Label | None = None
    brand: Label | None = None
    price: Price | None = Field(None, description="不小于 0，最多两位小数；数字或十进制字符串")
    attributes: Attributes = Field(default_factory=dict, description="任意 JSON 对象")
    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")


class ProductPatch(Strict):
    """The fields to change; those not given stay as they are, `null` clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.CHANGE]})

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

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.SHOWN_PRODUCT]})

    product_id: int
    sku: str | None
    title: str
    description: str | None
    category: str | None
    brand: str | None
    price: Price | None
    attributes: dict[str, JsonValue]
    image_url: str | None = Field(description="`/product/{product_id}/image`，没有图片时为 null")
    milvus_id: str = Field(description="向量在 Milvus 中的主键（63 位整数，以字符串给出）")
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

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.PAGE]})

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
    """The vector fields of an entity; all are dense but the last, which Milvus makes itself."""

    image_clip = "image_clip_vector"
    text_clip = "text_clip_vector"
    text_bge = "text_bge_vector"
    text_bm25 = "text_bm25_vector"


DENSE_FIELDS: tuple[VectorField, ...] = tuple(VectorField)[:-1]


class Hit(NamedTuple):
    """What recall gives for one entity; a higher score is nearer."""

    milvus_id: int
    score: float
    field: VectorField


class ProductListQuery(Strict):
    """The query string of `GET /product/list`."""

    page: Whole = Field(1, ge=1, le=1_000_000)
    page_size: Whole = Field(20, ge=1, le=100)
    category: Label | None = Field(None, description="分类，完全一致")
    brand: Label | None = Field(None, description="品牌，完全一致")
    min_price: Price | None = None
    max_price: Price | None = None
    q: str | None = Field(None, min_length=1, max_length=MAX_TITLE, description="标题中的原文")
    index_status: IndexStatus | None = None
    sort: ListSort = ListSort.newest
    after_id: Whole | None = Field(
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
        if self.after_id is not None and self.model_fields_set & {"page", "sort"}:
            raise ValueError("after_id 不能与 page 或 sort 同时使用")
        return self

    @property
    def order(self) -> ListSort:
        """What the page is sorted by: a walk goes up the ids."""
        return self.sort if self.after_id is None else ListSort.oldest

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

    model_config = ConfigDict(json_schema_extra={"examples": api_examples.SEARCHES})

    mode: SearchMode
    text: Query | None = None
    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")
    product_id: ProductId | None = Field(None, description="用该商品的标题或图片作为查询")
    top_k: Whole = Field(10, ge=1, le=MAX_TOP_K)
    offset: Whole = Field(0, ge=0, le=MAX_OFFSET)
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

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.SEARCH_ANSWER]})

    mode: SearchMode
    hits: list[SearchHit]
    encoder: str = Field(description="作答的编码器：starter 或 chinese-clip")
    dropped: int = Field(description="召回后因数据库中已无对应商品（或已改动）而舍去的向量数")
    took_ms: TookMs


class EncoderInfo(BaseModel):
    """Which encoders answer, and where they run."""

    name: str
    fingerprint: str
    device: str
    hint: str | None = Field(None, description="设置选的编码器与在用的不同时：怎样换")


class OutboxCounts(BaseModel):
    """Index work that waits, and that was given up."""

    pending: int
    retrying: int = Field(description="失败过、会自动重试的商品数")
    failed: int


class Health(BaseModel):
    """`down` (503): the catalogue can't be served; `degraded`: search or indexing can't, or the
    last doctor's walk left drift that answers suffer from."""

    model_config = ConfigDict(json_schema_extra={"examples": [api_examples.HEALTH]})

    status: Literal["ok", "degraded", "down"]
    database: Literal["ok", "down"]
    vector_store: Literal["ok", "down"]
    kafka: Literal["ok", "down"] | None = Field(
        None, description="最近一次向 Kafka 发布；不使用 Kafka 时为 null"
    )
    encoders: EncoderInfo
    outbox: OutboxCounts
    drift: DriftTotal | None = Field(
        None, description="最近一次核对剩下的不一致；从未核对则为 null"
    )


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    code: str
    message: str
    fields: dict[str, str] | None = Field(None, description="出错的字段及原因")
