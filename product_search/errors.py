"""Below every floor: the error family with its stable codes, and pydantic's errors in Chinese."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, ClassVar

from pydantic import BaseModel, Field


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
    retry_after_s: ClassVar[int | None] = None  # when the same request may be sent again

    def __init__(self, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = dict(fields) if fields else None

    def body(self) -> ErrorBody:
        """As an answer says it."""
        return ErrorBody(code=self.code, message=self.message, fields=self.fields)

    def at(self, place: str) -> AppError:
        """The same error, naming where in the request it is."""
        return type(self)(f"{place}：{self.message}", {place: self.message})


class StartError(Exception):
    """The service or a command can't start; the message says what is wrong and what to do."""


class InvalidRequest(AppError):
    """A value is missing, unknown, malformed or out of range."""

    code = "invalid_request"


class InvalidJson(AppError):
    """The body says it is JSON and is not."""

    code = "invalid_json"


class UnsupportedMediaType(AppError):
    """The body is not of a media type that the route takes."""

    code = "unsupported_media_type"


class PayloadTooLarge(AppError):
    """The whole request body is over the limit, or the query beside the others of its batch."""

    code = "payload_too_large"


class InvalidImage(AppError):
    """The bytes are not a picture that can be read whole."""

    code = "invalid_image"


class ImageTooLarge(AppError):
    """The picture's file has too many bytes."""

    code = "image_too_large"


class ImageTooManyPixels(AppError):
    """The picture has too many pixels; it was not decoded."""

    code = "image_too_many_pixels"


class ProductNotFound(AppError):
    """No product has this id."""

    code = "product_not_found"


class ImageNotFound(AppError):
    """The product or the generation has no such picture, or its file is gone."""

    code = "image_not_found"


class ProductWithoutImage(AppError):
    """An image query by a product that has no picture."""

    code = "product_without_image"


class ProductNotIndexed(AppError):
    """The product's vectors are not there yet: ask again once it is indexed."""

    code = "product_not_indexed"


class DuplicateSku(AppError):
    """Another product has this sku."""

    code = "duplicate_sku"


class OutboxFull(AppError):
    """Too much waits to be indexed already: nothing was written; send the write again later."""

    code = "outbox_full"
    retry_after_s = 5


class RegionOutsideImage(AppError):
    """The region is not wholly within the query's picture."""

    code = "region_outside_image"


class CursorInvalid(AppError):
    """The cursor was not given out for this search."""

    code = "cursor_invalid"


class CursorStale(AppError):
    """What the cursor was given out for is no longer searched."""

    code = "cursor_stale"


class NotCalibrated(AppError):
    """A confidence is asked for, and none was fitted for these encoders and legs."""

    code = "not_calibrated"


class ImportNotFound(AppError):
    """No import has this id."""

    code = "import_not_found"


class ImportFileError(AppError):
    """The file as a whole can't be imported; the message says why and what is expected."""

    code = "import_file_error"


class ImportTypeUnknown(ImportFileError):
    """The file's name does not end as one that can be imported."""

    code = "import_type_unknown"


class ImportEncodingUnknown(ImportFileError):
    """The table is neither UTF-8 nor GB18030."""

    code = "import_encoding_unknown"


class ImportHeaderInvalid(ImportFileError):
    """The CSV's first row names unknown columns, one twice, or lacks a required one."""

    code = "import_header_invalid"


class ZipUnreadable(ImportFileError):
    """The ZIP is damaged, or packed by a method that is not read."""

    code = "zip_unreadable"


class ZipEncrypted(ImportFileError):
    """The ZIP, or a file in it, has a password."""

    code = "zip_encrypted"


class ZipTooLarge(ImportFileError):
    """The ZIP has too many files, or they are too large once unpacked."""

    code = "zip_too_large"


class ZipUnsafeName(ImportFileError):
    """A file in the ZIP has a name that leads out of it, or that another file has too."""

    code = "zip_unsafe_name"


class ZipTableCount(ImportFileError):
    """The ZIP has no table (.csv or .jsonl), or more than one."""

    code = "zip_table_count"


class GenerationNotFound(AppError):
    """No generation has this id, or it was so long ago that it was dropped."""

    code = "generation_not_found"


class GenerationFinished(AppError):
    """The generation has ended: there is nothing to cancel."""

    code = "generation_finished"


class QueueFull(AppError):
    """Too many generations wait already: nothing was queued; send it again later."""

    code = "queue_full"
    retry_after_s = 10


class RunInProgress(AppError):
    """A run of the same kind has not ended yet: nothing was queued."""

    code = "run_in_progress"


class DatabaseUnavailable(AppError):
    """The relational store does not answer."""

    code = "database_unavailable"
    retry_after_s = 5


class OutcomeUnknown(AppError):
    """The relational store was lost while it saved: look whether it did before you repeat."""

    code = "outcome_unknown"


class StorageUnavailable(AppError):
    """The data folder can't be written: a full disk, a missing right."""

    code = "storage_unavailable"
    retry_after_s = 5


@contextmanager
def or_storage_unavailable(message: str) -> Iterator[None]:
    """An OSError in here is StorageUnavailable, with this message."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(message) from error


class VectorStoreUnavailable(AppError):
    """Milvus does not answer."""

    code = "vector_store_unavailable"
    retry_after_s = 5


class GenerationModelMissing(AppError):
    """The text-to-image model has not been downloaded; the message says how."""

    code = "generation_model_missing"


class KafkaUnavailable(Exception):
    """Kafka has not acknowledged what it was sent; the same may be sent again later."""


class GenerationFailed(Exception):
    """The text-to-image model can't be loaded, or made no picture of these words.

    No answer to a request: the generation's state is then `failed`, for the reason given here.
    """


# An answer stays small, whatever was asked.
_MAX_SHOWN = 20
_MAX_PLACE = 200
_MESSAGES = {
    "missing": "缺少必填项",
    "extra_forbidden": "未知字段",
    "string_type": "应为字符串",
    "string_unicode": "含有不完整的 Unicode 字符",
    "string_too_short": "不能为空",
    "string_too_long": "最多 {max_length} 个字符",
    "too_short": "至少 {min_length} 项",
    "too_long": "最多 {max_length} 项",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_from_float": "应为整数",
    "int_parsing_size": "数值过大",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "greater_than_equal": "不能小于 {ge}",
    "less_than_equal": "不能大于 {le}",
    "enum": "只能是 {expected}",
    "literal_error": "只能是 {expected}",
    "dict_type": "应为 JSON 对象",
    "list_type": "应为字符串或字符串数组",
    "model_attributes_type": "应为 JSON 对象",
    "model_type": "应为 JSON 对象",
    "value_error": "{error}",
}


def invalid_request(errors: Iterable[Mapping[str, Any]]) -> InvalidRequest:
    """Pydantic's error list as one InvalidRequest with a message for each field.

    An error of the whole (an empty `loc`) is in the message alone.
    """
    fields: dict[str, str] = {}
    whole: list[str] = []
    for error in errors:
        reason = _MESSAGES.get(error["type"], "格式不正确").format(**error.get("ctx", {}))
        reason = reason.replace(" or ", "、").replace(", ", "、")  # of pydantic's `expected`
        if error["loc"]:
            place = ".".join(str(part) for part in error["loc"])
            fields.setdefault(place[:_MAX_PLACE], reason)
        else:
            whole.append(reason)
    shown = dict(islice(fields.items(), _MAX_SHOWN))
    reasons = whole + [f"{place}：{reason}" for place, reason in shown.items()]
    rest = f"；共 {len(fields)} 处" if len(fields) > _MAX_SHOWN else ""
    return InvalidRequest(f"请求有误：{'；'.join(reasons)}{rest}", shown)
