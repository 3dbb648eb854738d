"""The error family: each class with its stable code, its HTTP status and an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from pydantic import BaseModel, Field

# What an answer, a run or a product tells of an error that may name paths, SQL or addresses.
IN_THE_LOG = "服务内部错误，原因见服务的日志"


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    code: str
    message: str
    fields: dict[str, str] | None = Field(
        None, description="出错的字段及原因", exclude_if=lambda fields: fields is None
    )


class AppError(Exception):
    """The family of all errors that a client can cause or meet; `code` never changes."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500  # HTTP's
    example: ClassVar[str] = "服务内部错误"  # the message that OpenAPI shows
    retry_after_s: int | None = None  # when the same request may be sent again

    def __init__(self, message: str, fields: Mapping[str, str] | None = None) -> None:
        """Keep what a person reads, and the fields of the request that are wrong, with reasons."""
        super().__init__(message)
        self.message = message
        self.fields = dict(fields) if fields else None

    def body(self) -> ErrorBody:
        """Return the error as the body of an answer."""
        return ErrorBody(code=self.code, message=self.message, fields=self.fields)

    def at(self, place: str) -> AppError:
        """Return the same error, naming where in the request it is."""
        return type(self)(f"{place}：{self.message}", {place: self.message})

    @classmethod
    def kinds(cls) -> Iterator[type[AppError]]:
        """Yield every class that has a code of its own, in the order of their definitions."""
        for kind in cls.__subclasses__():
            if "code" in vars(kind):
                yield kind
            yield from kind.kinds()


class StartError(Exception):
    """The service or a command can't start; the message says what is wrong and what to do."""


class EncoderError(StartError):
    """An encoder's weights are missing or can't be used; the message says where and what to do."""


class InvalidRequest(AppError):
    """A value is missing, unknown, malformed or out of range."""

    code = "invalid_request"
    status = 422
    example = "请求有误：title：不能为空白"


class InvalidJson(AppError):
    """The body says it is JSON and is not."""

    code = "invalid_json"
    status = 422
    example = "请求体不是有效的 JSON"


class UnsupportedMediaType(AppError):
    """The body is not of a media type that the route takes."""

    code = "unsupported_media_type"
    status = 415
    example = "请求体应为 application/json 或 multipart/form-data"


class PayloadTooLarge(AppError):
    """The request's body or its headers are over the limit, or the query beside its batch."""

    code = "payload_too_large"
    status = 413
    example = "请求体过大：最多 15 MB"


class RequestTimeout(AppError):
    """The client took too long to send its request, which is not received any further."""

    code = "request_timeout"
    status = 408
    example = "请求体接收过慢，已放弃接收"


class InvalidImage(AppError):
    """The bytes are not a picture that can be read whole."""

    code = "invalid_image"
    status = 422
    example = "图片已损坏或不完整"


class ImageTooLarge(AppError):
    """The picture's file has too many bytes."""

    code = "image_too_large"
    status = 413
    example = "图片过大：最多 10 MB"


class ImageTooManyPixels(AppError):
    """The picture has too many pixels; it was not decoded."""

    code = "image_too_many_pixels"
    status = 422
    example = "图片像素过多：最多 4000 万像素"


class ImageTooComplex(AppError):
    """Decoding the picture would take far longer than one of its size should."""

    code = "image_too_complex"
    status = 422
    example = "图片过于复杂：解码费时过长"


class InvalidHost(AppError):
    """The request does not say for which host it is, or says it twice or malformed."""

    code = "invalid_host"
    status = 400
    example = "请求头 Host 有误：应有且只有一个，形如 shop.example.com:8000"


class HostNotAllowed(AppError):
    """The host name that the request is for is none of this service's; settings add names."""

    code = "host_not_allowed"
    status = 421
    example = (
        "主机名 'shop.example.com' 不属于本服务：要用它访问，"
        "请把它加入设置 PRODUCT_SEARCH_ALLOWED_HOSTS（用逗号分隔）"
    )


class CrossSite(AppError):
    """A page of another origin would write or ask, and no setting allows that origin."""

    code = "cross_site"
    status = 403
    example = (
        "来自其他网站 'https://shop.example.com' 的请求：要允许它，"
        "请把它的来源加入设置 PRODUCT_SEARCH_CORS_ORIGINS（用逗号分隔）"
    )
    to_pages = "来自其他网站的请求：这些页面只接受它们自己的"


class RateLimited(AppError):
    """This key or address has asked for too much within a time; Retry-After says when it may."""

    code = "rate_limited"
    status = 429
    example = "请求过于频繁，请在 20 秒后重试"
    retry_after_s = 60


class ProductNotFound(AppError):
    """No product has this id."""

    code = "product_not_found"
    status = 404
    example = "商品 1 不存在"


class ImageNotFound(AppError):
    """The product or the generation has no such picture, or its file is gone."""

    code = "image_not_found"
    status = 404
    example = "商品 1 没有图片"


class ProductWithoutImage(AppError):
    """An image query by a product that has no picture."""

    code = "product_without_image"
    status = 422
    example = "商品 1 没有图片，不能用作图片查询"


class ProductNotIndexed(AppError):
    """The product's vectors are not there yet: ask again once it is indexed."""

    code = "product_not_indexed"
    status = 409
    example = "商品 1 尚未建立索引，请稍后再试"


class DuplicateSku(AppError):
    """Another product has this sku."""

    code = "duplicate_sku"
    status = 409
    example = "sku 'DEMO-0001' 已被另一个商品使用"


class RegionOutsideImage(AppError):
    """The region is not wholly within the query's picture."""

    code = "region_outside_image"
    status = 422
    example = "region 超出图片：图片为 800 × 600 像素"


class CursorInvalid(AppError):
    """The cursor was not given out for this search."""

    code = "cursor_invalid"
    status = 422
    example = "cursor 无法识别：请原样使用上一页的 next_cursor"


class CursorStale(AppError):
    """What the cursor was given out for is no longer searched."""

    code = "cursor_stale"
    status = 409
    example = "cursor 已失效：在用的向量集合已更换，请从第一页重新搜索"


class NotCalibrated(AppError):
    """A confidence is asked for, and none was fitted for these encoders and legs."""

    code = "not_calibrated"
    status = 409
    example = "在用的编码器没有校准文件，给不出 confidence：请去掉 min_confidence"


class ImportNotFound(AppError):
    """No import has this id."""

    code = "import_not_found"
    status = 404
    example = "没有编号为 1 的导入"


class ImportFileError(AppError):
    """The file as a whole can't be imported; the message says why and what is expected."""

    code = "import_file_error"
    status = 422
    example = "a.csv：文件不存在"


class ImportFinished(AppError):
    """The import has ended: there is nothing to cancel."""

    code = "import_finished"
    status = 409
    example = "编号为 1 的导入已经结束（done），不能再取消"


class RunInProgress(AppError):
    """A run of the same kind has not ended yet: nothing was queued."""

    code = "run_in_progress"
    status = 409
    example = "已有一次核对尚未结束（编号 3），请等它结束"


class GenerationNotFound(AppError):
    """No generation has this id, or it was so long ago that it was dropped."""

    code = "generation_not_found"
    status = 404
    example = "没有编号为 1 的图片生成"


class GenerationFinished(AppError):
    """The generation has ended: there is nothing to cancel."""

    code = "generation_finished"
    status = 409
    example = "编号为 1 的图片生成已经结束（done），不能再取消"


class QueueFull(AppError):
    """Too much of its kind waits already: nothing was queued; send it again later."""

    code = "queue_full"
    status = 429
    example = "排队的过多（8 个），请稍后重试"
    retry_after_s = 10


class OutboxFull(AppError):
    """Too much waits to be indexed already: nothing was written; send the write again later."""

    code = "outbox_full"
    status = 429
    example = "待建立索引的改动过多，请稍后重试"
    retry_after_s = 5


class Overloaded(AppError):
    """Too many searches wait, or bodies are being received: send it again a little later."""

    code = "overloaded"
    status = 429
    example = "正在处理的请求过多，请稍后重试"
    retry_after_s = 1


class DatabaseUnavailable(AppError):
    """The relational store does not answer."""

    code = "database_unavailable"
    status = 503
    example = "数据库暂时不可用，请稍后重试"
    retry_after_s = 5


class DatabaseNotWritable(DatabaseUnavailable):
    """The relational store can be read and not written: its disk is full, or it is read-only."""

    code = "database_not_writable"
    status = 503
    example = "数据库的磁盘已满或只读，暂时无法保存，请稍后重试"
    retry_after_s = 30


class OutcomeUnknown(AppError):
    """The relational store was lost while it saved: look whether it did before you repeat."""

    code = "outcome_unknown"
    status = 503
    example = "与数据库的连接在提交时中断：改动可能已保存，也可能没有；请先查看，再决定是否重试"


class StorageUnavailable(AppError):
    """The data folder can't be written: the disk is full or read-only, or a right is missing."""

    code = "storage_unavailable"
    status = 503
    example = "图片暂时无法保存，请稍后重试"
    retry_after_s = 5


class VectorStoreUnavailable(AppError):
    """Milvus does not answer."""

    code = "vector_store_unavailable"
    status = 503
    example = "向量库暂时不可用，请稍后重试"
    retry_after_s = 5


class GenerationModelMissing(AppError):
    """The text-to-image model has not been downloaded; the message says how."""

    code = "generation_model_missing"
    status = 503
    example = (
        "没有图片生成模型（Tongyi-MAI/Z-Image-Turbo）："
        "请先运行 python -m product_search.manage download-models --generation"
    )


class KafkaUnavailable(Exception):
    """Kafka has not acknowledged what it was sent; the same may be sent again later."""


class ClientGone(Exception):
    """Nobody waits for the answer any more: what was still to be done for it was dropped."""


class GenerationFailed(Exception):
    """The text-to-image model can't be loaded, or made no picture of these words.

    No answer to a request: the generation's state is then `failed`, for the reason given here.
    """


@contextmanager
def or_storage_unavailable(message: str) -> Iterator[None]:
    """Turn an OSError inside the block into StorageUnavailable with this message."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(message) from error
