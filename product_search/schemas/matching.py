"""Requests and responses of the routes beside search: batch, rerank, match, similar, titles."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SkipValidation,
    model_validator,
)

from product_search.errors import ErrorBody
from product_search.schemas import examples, rules
from product_search.schemas.fields import (
    MAX_TOP_K,
    ImageUrl,
    ProductId,
    Query,
    Strict,
    Upload,
    Whole,
)
from product_search.schemas.products import FilterQuery
from product_search.schemas.search import SearchHit, SearchRequest, SearchResponse, TookMs

MAX_QUERIES = 64
MAX_BATCH_IMAGES = 64
MAX_BATCH_TEXT = 128 * MAX_QUERIES  # characters
MAX_RERANKED = 500
MAX_MATCHED = 64
MAX_TITLES = 20


def _distinct(product_ids: list[int]) -> list[int]:
    if len(set(product_ids)) < len(product_ids):
        raise ValueError("不能重复")
    return product_ids


class BatchRequest(Strict):
    """Searches to be answered together."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.BATCH]})

    # Each is checked by itself, so that the mistake of one is that one's.
    queries: list[SkipValidation[SearchRequest]] = Field(
        min_length=1,
        max_length=MAX_QUERIES,
        description="各与 POST /search 的 JSON 请求体相同；共不超过 64 张图片、"
        f"{MAX_BATCH_TEXT} 个字符，放不下的查询得到 payload_too_large",
    )


class BatchResponse(BaseModel):
    """One result for each query, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.BATCH_ANSWER]})

    results: list[SearchResponse | ErrorBody] = Field(
        description="每个查询的回答，或它自己的错误 {code, message, fields?}"
    )


class RerankRequest(Strict):
    """Products to put in order by how well they fit a text, a picture or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [examples.RERANK],
            "allOf": [
                rules.some_of("text", "image_base64", "image_url"),
                rules.at_most_one_of("image_base64", "image_url"),
            ],
        }
    )

    product_ids: Annotated[list[ProductId], AfterValidator(_distinct)] = Field(
        min_length=1, max_length=MAX_RERANKED, json_schema_extra={"uniqueItems": True}
    )
    text: Query | None = None
    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")
    image_url: ImageUrl | None = None
    image: Upload = None

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        has_bytes = self.image is not None or self.image_base64 is not None
        if has_bytes and self.image_url is not None:
            raise ValueError("image_base64（或文件 image）与 image_url 只能给出一个")
        if self.text is None and not has_bytes and self.image_url is None:
            raise ValueError("text 与 image_base64（或文件 image）、image_url 至少给出一个")
        return self


class RerankResponse(BaseModel):
    """The given products, the best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RERANK_ANSWER]})

    hits: list[SearchHit] = Field(
        description="所有在且已索引的商品；没有界线。查询说不出好坏的（文字什么也没问，或只有图片而商品没有）"
        "在最后，score 为 0，confidence 为 null"
    )
    total: int
    missing: list[int] = Field(description="不存在或尚未索引的 product_id，按请求中的顺序")
    corrected_query: str | None = Field(None, description="代替 text 的查询：原文像是写错了")
    encoder: str = Field(description="作答的编码器：starter 或 chinese-clip")
    took_ms: TookMs


class Verdict(StrEnum):
    """Whether a picture shows what a text says."""

    match = "match"
    mismatch = "mismatch"

    @property
    def label(self) -> VerdictLabel:
        """The verdict in Chinese."""
        return "图文相符" if self is Verdict.match else "图文不符"


VerdictLabel = Literal["图文相符", "图文不符"]


class MatchImage(Strict):
    """A picture, or that of a product."""

    model_config = ConfigDict(
        json_schema_extra={"allOf": [rules.one_of("image_base64", "image_url", "product_id")]}
    )

    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")
    image_url: ImageUrl | None = None
    product_id: ProductId | None = Field(None, description="该商品的图片")
    image: Upload = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        given = (self.image, self.image_base64, self.image_url, self.product_id)
        if sum(one is not None for one in given) != 1:
            raise ValueError("image_base64、image_url、product_id 须给出一个，且只能一个")
        return self


class MatchText(Strict):
    """A title, or that of a product."""

    model_config = ConfigDict(json_schema_extra={"allOf": [rules.one_of("text", "product_id")]})

    text: Query | None = None
    product_id: ProductId | None = Field(None, description="该商品的标题")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.text is None) == (self.product_id is None):
            raise ValueError("text、product_id 须给出一个，且只能一个")
        return self


class MatchRequest(Strict):
    """One picture and its candidate titles, or one title and its candidate pictures."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": examples.MATCHES,
            "allOf": [
                {
                    "anyOf": [
                        rules.given("image", "texts", without=("text", "images")),
                        rules.given("text", "images", without=("image", "texts")),
                    ]
                }
            ],
        }
    )

    image: MatchImage | None = None
    texts: list[MatchText] | None = Field(None, min_length=1, max_length=MAX_MATCHED)
    text: MatchText | None = None
    images: list[MatchImage] | None = Field(None, min_length=1, max_length=MAX_MATCHED)

    @model_validator(mode="after")
    def _one_with_many(self) -> Self:
        names = ("image", "texts", "text", "images")
        given = {name for name in names if getattr(self, name) is not None}
        if given not in ({"image", "texts"}, {"text", "images"}):
            raise ValueError("须给出 image 与 texts，或 text 与 images")
        return self


class MatchPair(BaseModel):
    """How well a picture and a text fit each other."""

    score: float = Field(description="图片与文字的余弦相似度")
    confidence: float | None = Field(description="相符的概率，0–1；null：在用的编码器没有校准")
    verdict: Verdict | None = Field(description="confidence 是否达到校准时定下的界线")
    label: VerdictLabel | None


class MatchResponse(BaseModel):
    """A pair for each of the many, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MATCH_ANSWER]})

    pairs: list[MatchPair]
    encoder: str = Field(description="作答的编码器：starter 或 chinese-clip")


class SimilarBy(Enum):
    """What makes products similar."""

    picture = "picture"
    title = "title"
    both = "both"


class SimilarQuery(FilterQuery):
    """The query string of `GET /product/{product_id}/similar`."""

    by: SimilarBy = Field(
        SimilarBy.both,
        description="both：没有图片的商品只看标题。只有 picture 有校准的界线；title 与 both 没有："
        "min_confidence 与 confidence 为 null，一切都算，total 是看过的个数",
    )
    top_k: Whole = Field(10, ge=1, le=MAX_TOP_K)
    min_confidence: float | None = Field(
        None, ge=0, le=1, description="只用于 by=picture；默认：校准时定下的界线；0：给出一切"
    )


class TitlesRequest(Strict):
    """A picture that wants a title."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [examples.TITLES],
            "allOf": [rules.one_of("image_base64", "image_url", "product_id")],
        }
    )

    image_base64: str | None = Field(None, description="图片的 base64，或 data URI")
    image_url: ImageUrl | None = None
    product_id: ProductId | None = Field(None, description="该商品的图片；不含它自己的标题")
    top_k: Whole = Field(5, ge=1, le=MAX_TITLES)
    image: Upload = None

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        has_bytes = self.image is not None or self.image_base64 is not None
        if has_bytes + (self.image_url is not None) + (self.product_id is not None) != 1:
            raise ValueError(
                "image_base64（或文件 image）、image_url、product_id 须给出一个，且只能一个"
            )
        return self


class TitleHit(BaseModel):
    """A title that is there already."""

    title: str
    product_id: int = Field(description="有这个标题的商品中最近的")
    score: float = Field(description="图片与标题的余弦相似度")
    confidence: float | None = Field(description="相符的概率，0–1；null：在用的编码器没有校准")


class TitleSuggestion(BaseModel):
    """What the best titles agree on."""

    title: str = Field(description="由属性与共有的词拼成")
    category: str | None
    attributes: dict[str, str]
    words: list[str] = Field(description="标题共有的词，最有把握的在前")


class TitlesResponse(BaseModel):
    """Titles for the picture, the nearest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TITLES_ANSWER]})

    titles: list[TitleHit]
    no_match: bool = Field(description="没有标题与图片相近")
    suggestion: TitleSuggestion | None = Field(description="null：最近的几个标题说法不一")
    encoder: str = Field(description="作答的编码器：starter 或 chinese-clip")
    took_ms: TookMs
