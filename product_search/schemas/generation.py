"""Images generated from words, as the API takes and gives them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from product_search.schemas import examples, rules
from product_search.schemas.fields import INT64_MAX, Number, ProductId, Query, Strict, Whole

MAX_GENERATED = 4  # images of one generation
MIN_SIDE, MAX_SIDE = 256, 1024


class GenerationStyle(StrEnum):
    """What is put around the words of the prompt."""

    main = "main"  # 白底主图
    scene = "scene"  # 场景图
    detail = "detail"  # 细节图
    poster = "poster"  # 海报


def _multiple_of_eight(side: int) -> int:
    if side % 8:
        raise ValueError("应为 8 的倍数")
    return side


Side = Annotated[
    Whole,
    Field(ge=MIN_SIDE, le=MAX_SIDE, json_schema_extra={"multipleOf": 8}),
    AfterValidator(_multiple_of_eight),
]


class GenerationRequest(Strict):
    """What a picture is wanted of: words, or a product."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": examples.GENERATE,
            "allOf": [rules.some_of("prompt", "product_id")],
        }
    )

    prompt: Query | None = Field(None, description="想要的图片；1–512 个字符")
    product_id: ProductId | None = Field(
        None, description="由该商品的标题、分类与属性拼成提示；可与 prompt 一起给出"
    )
    negative_prompt: Query | None = Field(None, description="图片里不要出现的")
    style: GenerationStyle | None = Field(
        None, description="main 白底主图，scene 场景图，detail 细节图，poster 海报"
    )
    width: Side = 512
    height: Side = 512
    steps: Whole | None = Field(None, ge=1, le=100, description="默认：模型的推荐值")
    guidance: Number | None = Field(None, ge=0, le=20, description="默认：模型的推荐值")
    seed: Whole | None = Field(None, ge=0, le=2**32 - 1, description="默认：随机；回答里给出")
    n: Whole = Field(1, ge=1, le=MAX_GENERATED, description="第 i 张用 seed + i")

    @model_validator(mode="after")
    def _check_subject(self) -> Self:
        if self.prompt is None and self.product_id is None:
            raise ValueError("prompt 与 product_id 至少给出一个")
        return self


GenerationState = Literal["queued", "running", "done", "failed", "cancelled"]


class GenerationAccepted(BaseModel):
    """The generation waits for its turn, whatever happens to the service meanwhile."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.GENERATION_ACCEPTED]})

    generation_id: int
    state: Literal["queued"] = "queued"
    status_url: str = Field(description="进度：`GET` 这个地址")


class GeneratedImage(BaseModel):
    """A picture that was made, and how to make it again."""

    number: int = Field(description="在这次生成里的序号，从 1 起；不随名次变")
    image_url: str = Field(
        description="`/generate/{generation_id}/image/{number}`；需要密钥时带签名"
    )
    seed: int
    score: float | None = Field(description="图片与文字的余弦相似度；null：没有能比的文字")
    confidence: float | None = Field(description="图文相符的概率，0–1；null：编码器没有校准")
    fits: bool | None = Field(description="confidence 是否达到 POST /match 的界线")


class GenerationOut(BaseModel):
    """A generation: how far it is, and its pictures, the best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.GENERATION]})

    generation_id: int
    state: GenerationState
    error: str | None = Field(description="state 为 failed 时的原因")
    prompt: str = Field(description="实际用的提示，含风格与商品的内容")
    request: GenerationRequest = Field(description="按它（连同 seed、steps）可再生成同样的图片")
    model: str | None = Field(description="用的模型；排队时为 null")
    step: int = Field(description="已完成的步数，所有图片合计")
    steps: int | None = Field(description="总步数；开始之前为 null")
    preview_url: str | None = Field(description="进行中：目前的样子；没有时为 null")
    pictures: list[GeneratedImage] = Field(description="最相符的在前；全部完成后给出")
    no_match: bool = Field(description="没有一张与文字相符（低于 POST /match 的界线）")
    created_at: datetime
    finished_at: datetime | None

    @property
    def is_under_way(self) -> bool:
        """Whether the generation has not ended."""
        return self.state in ("queued", "running")


class GenerationQuery(Strict):
    """The query string of `GET /generate`."""

    limit: Whole = Field(20, ge=1, le=100)
    before: Whole | None = Field(None, ge=1, le=INT64_MAX, description="上一页的 next_before")


class GenerationPage(BaseModel):
    """Generations, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.GENERATIONS]})

    items: list[GenerationOut]
    next_before: int | None = Field(description="下一页的 before；没有更多时为 null")


class PictureOfGeneration(Strict):
    """One picture of a generation: a query of searches, or the picture of a product."""

    model_config = ConfigDict(frozen=True)

    generation_id: Annotated[Whole, Field(ge=1, le=INT64_MAX)]
    number: Whole = Field(1, ge=1, le=MAX_GENERATED)
