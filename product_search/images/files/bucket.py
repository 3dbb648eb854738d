"""Images in a bucket of S3, or of what speaks its protocol."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from product_search.errors import ImageNotFound, StorageUnavailable
from product_search.images.files.names import ASIDE, LOST, NOT_SAVED, UNAVAILABLE, is_hash, place

_CONNECT_S, _READ_S, _ATTEMPTS = 3, 20, 2
_CONNECTIONS = 64
_ASKED_AT_ONCE = 16
# Whoever deletes takes seconds. What lies aside for longer was left by a process that died.
_ABANDONED_S = 900.0
_LEAVING = "这张图片正在被清理，请稍后重试"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MISSING = ("404", "NoSuchKey", "NotFound")
_NO_TYPE = "application/octet-stream"  # a bucket that is open to all shows nothing as a page


@dataclass(frozen=True)
class Bucket:
    """Where a bucket is, and by whose right it is used.

    Attributes:
        url: s3://BUCKET, or s3://BUCKET/PREFIX.
        endpoint: address of what speaks S3's protocol; None for AWS.
        region: None for what AWS's own configuration says.
        key_id: of the access key; empty for the credentials that AWS's own chain finds.
        secret: of the access key.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    key_id: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The bucket's name."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """What begins the keys of all images."""
        folder = urlsplit(self.url).path.strip("/")
        return f"{folder}/pictures/" if folder else "pictures/"


def check_url(url: str) -> str:
    """Return the URL of a bucket. Raises ValueError at any other text."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not _NAME.fullmatch(parts.netloc) or parts.query or parts.fragment:
        raise ValueError("应为 s3://桶名 或 s3://桶名/前缀")
    return url


def check_endpoint(url: str) -> str:
    """Return the address of what speaks S3's protocol. Raises ValueError at any other text."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("应为 http:// 或 https:// 开头的地址，不含用户名与密码")
    return url


class BucketFiles:
    """Images as objects of a bucket; any number of processes may use it.

    No object can be renamed at once, as files can. So whoever deletes an image first copies it
    aside, and then looks at its age once more; whoever writes or renews an image looks afterwards
    whether a copy lies aside, then whether the image is still there, and is refused otherwise.
    S3 shows every change to all at once, so one of two such sees the other.
    """

    def __init__(self, bucket: Bucket) -> None:
        """Connect to nothing yet.

        Raises:
            ImportError: boto3 is not installed.
            ValueError: the bucket's settings can't be used.
        """
        self._bucket = bucket
        self._client = _open_client(bucket)

    def read(self, image_hash: str) -> bytes:
        """Return what the object has. Raises ImageNotFound, StorageUnavailable."""
        with _available(UNAVAILABLE), _missing_as(ImageNotFound(LOST)):
            found = self._client.get_object(**self._at(self._key(image_hash)))
            content: bytes = found["Body"].read()
            return content

    def write(self, image_hash: str, content: bytes) -> None:
        """Put the object. Raises StorageUnavailable."""
        with _available(NOT_SAVED):
            place = self._at(self._key(image_hash))
            self._client.put_object(**place, Body=content, ContentType=_NO_TYPE)
        self._require_staying(image_hash)

    def renew(self, image_hash: str) -> bool:
        """Restart the age of an object; False where there is none. Raises StorageUnavailable."""
        key = self._key(image_hash)
        with _available(UNAVAILABLE):
            if not self._copy(key, key):
                return False
        self._require_staying(image_hash)
        return True

    def _require_staying(self, image_hash: str) -> None:
        """Raise StorageUnavailable where somebody is about to delete the image, or just did."""
        with _available(UNAVAILABLE):
            aside_at = self._modified(self._aside(image_hash))
            is_leaving = aside_at is not None and time.time() - aside_at < _ABANDONED_S
            if is_leaving or self._modified(self._key(image_hash)) is None:
                raise StorageUnavailable(_LEAVING)

    def find_missing(self, image_hashes: Collection[str]) -> set[str]:
        """Return those of the hashes that have no object. Raises StorageUnavailable."""
        asked = [one for one in image_hashes if is_hash(one)]
        with _available(UNAVAILABLE), ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
            times = threads.map(lambda one: self._modified(self._key(one)), asked)
            found = {one for one, at in zip(asked, times, strict=True) if at is not None}
        missing = set(image_hashes) - found
        if missing:
            self.check()  # of a bucket that is gone, every object is missing
        return missing

    def renewed_at(self, prefix: str) -> dict[str, float]:
        """Return the hashes with these first two digits, and when each object was renewed."""
        return {name: at for name, at in self._listed(prefix) if is_hash(name)}

    def tidy(self, prefix: str, before: float) -> None:
        """Put back the images that a crash left aside. Raises StorageUnavailable."""
        for name, _ in self._listed(prefix):
            stem = name.removesuffix(ASIDE)
            if stem != name and is_hash(stem):
                self.put_back(stem)

    def _listed(self, prefix: str) -> list[tuple[str, float]]:
        """Return names and times of all objects in this part. Raises StorageUnavailable."""
        folder = f"{self._bucket.prefix}{prefix}/"
        with _available(UNAVAILABLE):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket.name, Prefix=folder
            )
            return [
                (one["Key"].removeprefix(folder), one["LastModified"].timestamp())
                for page in pages
                for one in page.get("Contents", ())
            ]

    def set_aside(self, image_hash: str, before: float) -> bool:
        """Copy the object aside and delete it; False where its age began anew, or it is gone."""
        key, aside = self._key(image_hash), self._aside(image_hash)
        with _available(UNAVAILABLE):
            if not self._copy(key, aside):
                return False
            renewed_at = self._modified(key)  # only now: see the class
            if renewed_at is None or renewed_at >= before:
                self._client.delete_object(**self._at(aside))
                return False
            self._client.delete_object(**self._at(key))
            return True

    def put_back(self, image_hash: str) -> None:
        """Undo set_aside, and restart the image's age. Raises StorageUnavailable."""
        aside = self._aside(image_hash)
        with _available(UNAVAILABLE):
            self._copy(aside, self._key(image_hash))
            self._client.delete_object(**self._at(aside))

    def drop_aside(self, image_hash: str) -> None:
        """Delete an image that was set aside. Raises StorageUnavailable."""
        with _available(UNAVAILABLE):
            self._client.delete_object(**self._at(self._aside(image_hash)))

    def check(self) -> None:
        """Ask for one name. Raises StorageUnavailable with the reason."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.list_objects_v2(
                Bucket=self._bucket.name, Prefix=self._bucket.prefix, MaxKeys=1
            )
        except ClientError as error:
            raise StorageUnavailable(f"S3 回答 {_code(error)}") from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"访问 S3 失败（{type(error).__name__}）") from error

    def _key(self, image_hash: str) -> str:
        return self._bucket.prefix + place(image_hash)

    def _aside(self, image_hash: str) -> str:
        return self._key(image_hash) + ASIDE

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": key}

    def _copy(self, source: str, target: str) -> bool:
        """Copy an object, onto itself to restart its age; False where there is none."""
        with suppress(_Missing), _missing_as(_Missing()):
            self._client.copy_object(
                **self._at(target),
                CopySource=self._at(source),
                MetadataDirective="REPLACE",
                ContentType=_NO_TYPE,
            )
            return True
        return False

    def _modified(self, key: str) -> float | None:
        """Return when the object was written, in seconds since 1970; None where there is none."""
        with suppress(_Missing), _missing_as(_Missing()):
            at: float = self._client.head_object(**self._at(key))["LastModified"].timestamp()
            return at
        return None


class _Missing(Exception):
    """There is no such object."""


def _open_client(bucket: Bucket) -> Any:
    import boto3
    from botocore.config import Config

    if bool(bucket.key_id) != bool(bucket.secret):
        raise ValueError("访问密钥与密钥 ID 须一起给出")
    more: dict[str, Any] = {}
    if bucket.endpoint:  # others know neither names of buckets as hosts nor AWS's newer checksums
        more = {
            "s3": {"addressing_style": "path"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
    return boto3.session.Session().client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.key_id or None,
        aws_secret_access_key=bucket.secret or None,
        config=Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            max_pool_connections=_CONNECTIONS,
            **more,
        ),
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) or type(error).__name__


@contextmanager
def _missing_as(missing: Exception) -> Iterator[None]:
    """Raise this where S3 says that there is no such object."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if _code(error) in _MISSING:
            raise missing from error
        raise


@contextmanager
def _available(message: str) -> Iterator[None]:
    """Turn what is wrong with the bucket or the way to it into StorageUnavailable."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(message) from error
