"""Products as the API takes, gives and lists them."""

from __future__ import annotations

import operator
from datetime import datetime
from enum import StrEnum
from typing import Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from product_search.schemas import examples, rules
from product_search.schemas.fields import (
    INT64_MAX,
    MAX_TITLE,
    Attributes,
    Description,
    ImageUrl,
    Label,
    Price,
    Strict,
    Title,
    Upload,
    Whole,
)
from product_search.schemas.filters import PriceRange, SearchFilters
from product_search.schemas.generation import PictureOfGeneration

Kept = TypeVar("Kept")


class ProductCreate(Strict):
    """A new product; only `title` is required."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [examples.PRODUCT], "allOf": [rules.ONE_IMAGE]}
    )

    title: Title = Field(description="商品标题，1–500 个字符，原样保存")
    sku: Label | None = Field(None, description="商家自己的编号，唯一")
    description: Description | None = None
    category: Label | None = None
    brand: Label | None = None
    price: Price | None = Field(None, description="不小于 0，最多两位小数；数字或十进制字符串")
    attributes: Attributes = Field(default_factory=dict, description="任意 JSON 对象")
    group: Label | None = Field(
        None,
        description="同款不同规格的商品共有的编号（SPU、款号）；搜索时同组只列最符合的一个。"
        "没有给出时取自 attributes 的 款号、SPU、货号 等，前面加上 brand；null：不属于任何组",
    )
    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")
    image_url: ImageUrl | None = None
    generation: PictureOfGeneration | None = Field(
        None, description="POST /generate 的一张图片，代替 image_base64"
    )
    image: Upload = None

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        _check_one_image(self)
        return self


def _check_one_image(body: ProductCreate | ProductPatch) -> None:
    has_bytes = body.image is not None or "image_base64" in body.model_fields_set
    if has_bytes + (body.image_url is not None) + (body.generation is not None) > 1:
        raise ValueError("image_base64（或文件 image）、image_url、generation 只能给出一个")


class ProductPatch(Strict):
    """The fields to change; those not given stay as they are, `null` clears."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [examples.CHANGE], "allOf": [rules.ONE_IMAGE]}
    )

    # Those that can't be cleared: no schema shows their null.
    title: Title | SkipJsonSchema[None] = Field(None, json_schema_extra=rules.without_default)
    sku: Label | None = None
    description: Description | None = None
    category: Label | None = None
    brand: Label | None = None
    price: Price | None = None
    attributes: Attributes | None = None
    group: Label | None = None
    image_base64: str | None = Field(None, description="新图片；null 表示删除图片")
    image_url: ImageUrl | SkipJsonSchema[None] = Field(
        None, json_schema_extra=rules.without_default
    )
    generation: PictureOfGeneration | SkipJsonSchema[None] = Field(
        None,
        json_schema_extra=rules.without_default,
        description="POST /generate 的一张图片，代替 image_base64；不能为 null",
    )
    image: Upload = None

    @field_validator("title", "image_url", "generation")
    @classmethod
    def _not_cleared(cls, value: Kept | None) -> Kept:
        if value is None:
            raise ValueError("不能为 null")
        return value

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        _check_one_image(self)
        return self


class IndexStatus(StrEnum):
    """Whether the vectors in Milvus are those of the product's current revision."""

    pending = "pending"
    indexed = "indexed"
    failed = "failed"


class ProductOut(BaseModel):
    """A product as the API shows it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.SHOWN_PRODUCT]})

    product_id: int
    sku: str | None
    title: str
    description: str | None
    category: str | None
    brand: str | None
    price: Price | None
    attributes: dict[str, JsonValue]
    group: str | None
    image_url: str | None = Field(
        description="`/product/{product_id}/image`，没有图片时为 null；需要密钥时带签名，"
        "浏览器可直接加载，6 至 12 小时内有效，可再加 `&size=`"
    )
    image_generated: bool = Field(description="图片由模型生成，不是照片：它的文件里这样写明")
    milvus_id: str = Field(description="向量在 Milvus 中的主键（63 位整数，以字符串给出）")
    revision: int
    index_status: IndexStatus
    index_error: str | None = Field(description="index_status 为 failed 时的原因")
    created_at: datetime
    updated_at: datetime


class ProductCreated(ProductOut):
    """A product that was just added, and those that are the same one already."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.CREATED_PRODUCT]})

    duplicates: list[int] = Field(
        description="图片文件相同，或标题与品牌相同的商品（不计空格、标点、大小写、繁简），"
        "最多 10 个"
    )
    warnings: list[str] = Field(
        default_factory=list,
        description="图片已收下，但有应当知道的不足，例如文件缺了结尾；没有时不出现",
        exclude_if=operator.not_,
    )


class ProductUpdated(ProductOut):
    """A product that was just changed."""

    warnings: list[str] = Field(
        default_factory=list,
        description="图片已收下，但有应当知道的不足，例如文件缺了结尾；没有时不出现",
        exclude_if=operator.not_,
    )


class ListSort(StrEnum):
    """Orders of `GET /product/list`; ties are broken by product_id."""

    newest = "newest"
    oldest = "oldest"
    price_asc = "price_asc"
    price_desc = "price_desc"


class ProductPage(BaseModel):
    """One page of the catalogue."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PAGE]})

    items: list[ProductOut]
    total: int = Field(description="符合条件的商品总数")
    page: int
    page_size: int


class FilterQuery(Strict):
    """The filters of searches that fit into a query string."""

    category: Label | None = Field(None, description="分类，完全一致")
    brand: Label | None = Field(None, description="品牌，完全一致")
    min_price: Price | None = None
    max_price: Price | None = None

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        low, high = self.min_price, self.max_price
        if low is not None and high is not None and low > high:
            raise ValueError("min_price 不能大于 max_price")
        return self

    def filters(self) -> SearchFilters:
        """Return the conditions as searches have them."""
        return SearchFilters(
            category=self.category and [self.category],
            brand=self.brand and [self.brand],
            price=self._prices(),
        )

    def _prices(self) -> PriceRange | None:
        if self.min_price is None and self.max_price is None:
            return None
        return PriceRange(gte=self.min_price, lte=self.max_price)


class ProductListQuery(FilterQuery):
    """The query string of `GET /product/list`."""

    page: Whole = Field(1, ge=1, le=1_000_000)
    page_size: Whole = Field(20, ge=1, le=100)
    q: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_TITLE,
        description="标题中的原文（区分大小写），或 sku 的一部分，或 product_id",
    )
    sku: Label | None = Field(
        None, description="sku 或它的一部分，不分大小写；与它完全一样的在最前"
    )
    group: Label | None = Field(None, description="同组的商品，完全一致")
    index_status: IndexStatus | None = None
    sort: ListSort = ListSort.newest
    after_id: Whole | None = Field(
        None,
        ge=0,
        le=INT64_MAX,
        description="只取 product_id 更大的商品，按 product_id 升序；从 0 起可走遍整个目录",
    )

    @model_validator(mode="after")
    def _walk_or_page(self) -> Self:
        if self.after_id is not None and self.model_fields_set & {"page", "sort"}:
            raise ValueError("after_id 不能与 page 或 sort 同时使用")
        return self

    @property
    def order(self) -> ListSort:
        """The order of the page; with `after_id` it goes up the ids."""
        return self.sort if self.after_id is None else ListSort.oldest
