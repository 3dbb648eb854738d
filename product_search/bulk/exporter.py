"""Export: the whole catalog as a ZIP that an import takes, its images byte for byte.

Images that a model made lie in a folder of their own, so that nobody trains on them unawares.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orm_models import Database, Product
from product_search.bulk.tables import IMAGE_COLUMN
from product_search.errors import ImageNotFound, StorageUnavailable
from product_search.images.provenance import says_generated
from product_search.images.store import ImageStore

TABLE = "products.jsonl"
IMAGES = "pictures"
GENERATED = "pictures/generated"
PAGE = 1000
_COPIED_COLUMNS = ("title", "description", "category", "brand", "attributes", "group")


@dataclass
class ExportReport:
    """What an export did: counts, and the skus of products whose image is lost."""

    products: int = 0
    images: int = 0
    without_image: list[str] = field(default_factory=list)


def export_catalog(
    database: Database, images: ImageStore, target: Path, on_row: Callable[[], object]
) -> ExportReport:
    """Write the catalog as of one moment to `target`, which appears whole or not at all.

    The rows are read in one transaction, to a file beside the target; the images after it, by
    the hashes that those rows name.

    Args:
        database: the store of the rows.
        images: the store of the images.
        target: the ZIP to write.
        on_row: called after each product.

    Raises:
        StorageUnavailable: the target can't be written; a file that was there is as it was.
        DatabaseUnavailable: the database does not answer.
    """
    with (
        _translate_disk_errors(),
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=target.parent) as rows,
    ):
        database.read(_take_snapshot, rows)
        with _replace(target) as stream, zipfile.ZipFile(stream, "w") as archive:
            return _pack(archive, rows, images, on_row)


def _take_snapshot(session: Session, rows: IO[str]) -> None:
    """Write all rows of one moment, from the start: after a lost connection this runs anew."""
    if session.get_bind().dialect.name != "sqlite":  # whose transactions are snapshots
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    rows.seek(0)
    rows.truncate()
    last = 0
    after = select(Product).order_by(Product.id).limit(PAGE)
    while page := session.scalars(after.where(Product.id > last)).all():
        for sku, product in zip(_skus(session, page), page, strict=True):
            rows.write(f"{json.dumps(_row(product, sku), ensure_ascii=False)}\n")
        last = page[-1].id
        session.expunge_all()


def _skus(session: Session, page: Sequence[Product]) -> list[str]:
    """Return each product's sku, or one made of its id: an import knows products by sku."""
    new = {product.id: f"id-{product.id}" for product in page if product.sku is None}
    used = set(session.scalars(select(Product.sku).where(Product.sku.in_(new.values()))))
    for product in page:
        if new.get(product.id) in used:
            new[product.id] += f"-{product.milvus_id}"
    return [new.get(product.id) or str(product.sku) for product in page]


def _row(product: Product, sku: str) -> dict[str, Any]:
    """Return the row as an import takes it, but for the image, which is named by its hash."""
    price = None if product.price is None else str(product.price)
    copied = {name: getattr(product, name) for name in _COPIED_COLUMNS}
    return {"sku": sku, **copied, "price": price, IMAGE_COLUMN: product.image_hash}


def _pack(
    archive: zipfile.ZipFile, rows: IO[str], images: ImageStore, on_row: Callable[[], object]
) -> ExportReport:
    names = _pack_images(archive, rows, images)
    report = ExportReport(images=sum(name is not None for name in names.values()))
    packed = zipfile.ZipInfo(TABLE)
    packed.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(packed, "w", force_zip64=True) as table:
        for row in _reread(rows):
            image_hash = row[IMAGE_COLUMN]
            if image_hash is not None:
                row[IMAGE_COLUMN] = names[image_hash]
                if row[IMAGE_COLUMN] is None:
                    report.without_image.append(row["sku"])
            table.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())
            report.products += 1
            on_row()
    return report


def _pack_images(
    archive: zipfile.ZipFile, rows: IO[str], images: ImageStore
) -> Mapping[str, str | None]:
    """Write every image once; return its name in the ZIP by its hash, None where it is lost."""
    names: dict[str, str | None] = {}
    for row in _reread(rows):
        image_hash = row[IMAGE_COLUMN]
        if image_hash is None or image_hash in names:
            continue
        try:
            image = images.original(image_hash)
        except ImageNotFound:
            names[image_hash] = None
            continue
        folder = GENERATED if says_generated(image.content) else IMAGES
        name = f"{folder}/{image_hash}.{image.media_type.removeprefix('image/')}"
        archive.writestr(zipfile.ZipInfo(name), image.content)
        names[image_hash] = name
    return names


def _reread(rows: IO[str]) -> Iterator[dict[str, Any]]:
    rows.seek(0)
    return map(json.loads, rows)


@contextmanager
def _replace(target: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the target's place once it is whole, and synced."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".export-", delete=False) as stream:
        path = Path(stream.name)
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            path.replace(target)
        except BaseException:  # Ctrl-C too leaves nothing behind
            path.unlink(missing_ok=True)
            raise


@contextmanager
def _translate_disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable("无法写出导出文件") from error
