"""The store of images over a folder and over a bucket: kept for good, renewed, set aside, gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from orm_models import Database
from product_search.bootstrap.migrate import migrate
from product_search.catalog.products import Catalog
from product_search.drift.orphaned_images import check_images
from product_search.errors import ImageNotFound, StorageUnavailable
from product_search.images.files.bucket import Bucket, BucketFiles
from product_search.images.files.folder import FolderFiles
from product_search.images.store import ImageStore, content_hash
from tests.s3_servers import S3Server, running_s3
from tests.unit.pictures import age, encoded, file_of, noise

PNG = encoded(noise((60, 40)), "PNG")
OTHER = encoded(noise((60, 40), 1), "PNG")
DAY_S = 24 * 3600.0
_numbers = count()


@dataclass(frozen=True)
class Place:
    """Where images lie, as two processes see it; each has a folder of its own beside it."""

    store: ImageStore
    other: ImageStore
    age: Callable[[str], object]
    damage: Callable[[str], object]
    lose: Callable[[str], object]

    def is_kept_for(self, image_hash: str) -> bool:
        """Whether a writer that finds the image stored may name it in a row."""
        try:
            return self.other.renew(image_hash)
        except StorageUnavailable:
            return False


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with running_s3() as running:
        yield running


@pytest.fixture
def bucket(server: S3Server) -> Bucket:
    return server.make_bucket(f"shop-{next(_numbers)}", "one/shop")


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        files = FolderFiles(tmp_path / "shared")
        store = ImageStore(tmp_path / "a", files)
        return Place(
            store,
            ImageStore(tmp_path / "b", files),
            lambda name: age(file_of(store, name)),
            lambda name: file_of(store, name).write_bytes(PNG[:99]),
            lambda name: file_of(store, name).unlink(),
        )
    server: S3Server = request.getfixturevalue("server")
    bucket: Bucket = request.getfixturevalue("bucket")
    at = partial(_at, bucket)
    return Place(
        ImageStore(tmp_path / "a", BucketFiles(bucket)),
        ImageStore(tmp_path / "b", BucketFiles(bucket)),
        partial(server.age, bucket),
        lambda name: server.client().put_object(**at(name), Body=PNG[:99]),
        lambda name: server.client().delete_object(**at(name)),
    )


def _at(bucket: Bucket, name: str) -> dict[str, str]:
    return {"Bucket": bucket.name, "Key": f"one/shop/pictures/{name[:2]}/{name}"}


def test_an_image_is_kept_as_it_came_for_every_process(place: Place) -> None:
    name = place.store.save_upload(PNG)
    assert place.other.original(name).content == PNG
    assert place.other.shown(name).content == PNG
    assert place.other.load(name).size == (60, 40)
    assert place.other.find_missing([name, content_hash(OTHER), "no hash"]) == {
        content_hash(OTHER),
        "no hash",
    }
    assert list(place.other.renewed_at(name[:2])) == [name]
    assert place.other.renewed_at("00" if name[:2] != "00" else "01") == {}


def test_a_thumbnail_is_made_once_by_each_process(place: Place) -> None:
    name = place.store.save(PNG)
    first = place.store.thumbnail(name, 64)
    assert place.other.thumbnail(name, 64) == first
    place.lose(name)
    assert place.store.thumbnail(name, 64) == first


def test_a_lost_and_a_damaged_image_are_not_found(place: Place) -> None:
    name, damaged = place.store.save(PNG), place.store.save(OTHER)
    place.lose(name)
    place.damage(damaged)
    for one in (name, damaged):
        for read in (place.other.load, place.other.original, place.other.shown):
            with pytest.raises(ImageNotFound):
                read(one)
        assert not place.other.renew(one)
    assert place.store.save_upload(OTHER) == damaged
    assert place.other.original(damaged).content == OTHER


def test_an_image_that_is_used_again_is_as_new(place: Place) -> None:
    name, before = place.store.save(PNG), time.time() - DAY_S
    for use in (partial(place.other.renew, name), partial(place.other.save_upload, PNG)):
        place.age(name)
        assert place.store.renewed_at(name[:2])[name] < before
        assert use()
        assert place.store.renewed_at(name[:2])[name] >= before
    place.age(name)
    assert place.other.reuse(name) == PNG
    assert not place.store.set_aside(name, before)
    assert place.other.original(name).content == PNG


def test_nobody_counts_on_an_image_that_is_set_aside(place: Place) -> None:
    name, before = place.store.save(PNG), time.time() - DAY_S
    place.age(name)
    assert place.store.set_aside(name, before)
    assert not place.is_kept_for(name)
    assert place.other.find_missing([name]) == {name}
    assert place.other.renewed_at(name[:2]) == {}
    place.store.put_back(name)
    assert place.is_kept_for(name)
    assert place.store.renewed_at(name[:2])[name] >= before


def test_an_image_that_is_dropped_is_gone_with_its_thumbnails(place: Place, tmp_path: Path) -> None:
    name = place.store.save(PNG)
    place.store.thumbnail(name, 64)
    place.age(name)
    assert place.store.set_aside(name, time.time() - DAY_S)
    place.store.drop_aside(name)
    assert not place.is_kept_for(name)
    assert not list((tmp_path / "a").rglob(f"*{name}*"))
    assert place.other.save_upload(PNG) == name
    assert place.store.original(name).content == PNG


def test_what_a_crash_has_left_aside_is_put_back(place: Place) -> None:
    name, before = place.store.save(PNG), time.time() - DAY_S
    place.age(name)
    place.store.set_aside(name, before)
    place.store.tidy(name[:2], before)
    assert place.other.original(name).content == PNG
    assert place.is_kept_for(name)


def test_the_doctor_deletes_what_no_row_names(place: Place, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    migrate(database)
    named = Catalog(database, place.store).create({"title": "书包"}, PNG)
    young = place.store.save(OTHER)
    old = place.store.save(encoded(noise((9, 9), 2), "PNG"))
    place.age(content_hash(PNG))
    place.age(old)
    digits = sorted({name[0] for name in (young, old, content_hash(PNG))})  # of 16, for speed
    results = [
        [check_images(database, place.other, digit, repair=repair) for digit in digits]
        for repair in (False, True)
    ]
    for found in results:
        assert sum(one.pictures for one in found) == 3
        assert [name for one in found for name in one.orphans] == [old]
    assert {name for one in results[1] for name in one.deleted} == {old}
    kept = {content_hash(PNG), young}
    assert place.store.find_missing([*kept, old]) == {old}
    assert named.image_url is not None
    database.close()


def _between(
    files: BucketFiles, call: str, meddle: Callable[[str, Callable[[], Any]], Any]
) -> None:
    """Have `meddle` decide when a call of this client's is carried out; it gets the key."""
    client: Any = files._client
    real = getattr(client, call)
    setattr(client, call, lambda **given: meddle(given["Key"], partial(real, **given)))


@pytest.mark.parametrize("how", ["write", "renew"])
def test_whoever_uses_an_image_while_it_is_being_deleted_is_refused(
    bucket: Bucket, server: S3Server, how: str
) -> None:
    doctor, writer = BucketFiles(bucket), BucketFiles(bucket)
    name = content_hash(PNG)
    writer.write(name, PNG)
    server.age(bucket, name)
    use = partial(writer.write, name, PNG) if how == "write" else partial(writer.renew, name)

    def meddle(key: str, delete: Callable[[], Any]) -> Any:
        with pytest.raises(StorageUnavailable, match="正在被清理"):
            use()  # it is in the bucket now, and the doctor no longer looks
        return delete()

    _between(doctor, "delete_object", meddle)
    assert doctor.set_aside(name, time.time() - DAY_S)
    assert writer.find_missing([name]) == {name}


def test_whoever_writes_an_image_that_is_deleted_before_they_look_is_refused(
    bucket: Bucket, server: S3Server
) -> None:
    doctor, writer = BucketFiles(bucket), BucketFiles(bucket)
    name = content_hash(PNG)
    writer.write(name, PNG)
    server.age(bucket, name)

    def delete_after(_key: str, write: Callable[[], Any]) -> None:
        write()
        for key in (_at(bucket, name), _at(bucket, f"{name}.aside")):
            server.client().delete_object(**key)  # all that the doctor has still to do

    def write_before(_key: str, _delete: Callable[[], Any]) -> None:
        _between(writer, "put_object", delete_after)
        with pytest.raises(StorageUnavailable, match="正在被清理"):
            writer.write(name, PNG)

    _between(doctor, "delete_object", write_before)
    doctor.set_aside(name, time.time() - DAY_S)


def test_the_doctor_leaves_an_image_that_is_used_as_it_begins(
    bucket: Bucket, server: S3Server
) -> None:
    doctor, writer = BucketFiles(bucket), BucketFiles(bucket)
    name = content_hash(PNG)
    writer.write(name, PNG)
    server.age(bucket, name)

    def meddle(_key: str, copy: Callable[[], Any]) -> Any:
        assert writer.renew(name)
        return copy()

    _between(doctor, "copy_object", meddle)
    assert not doctor.set_aside(name, time.time() - DAY_S)
    assert writer.renew(name)


def test_what_a_process_that_died_left_aside_stops_nobody_for_long(
    bucket: Bucket, server: S3Server
) -> None:
    files = BucketFiles(bucket)
    name = content_hash(PNG)
    files.write(name, PNG)
    place = _at(bucket, name)
    server.client().copy_object(Bucket=bucket.name, Key=f"{place['Key']}.aside", CopySource=place)
    with pytest.raises(StorageUnavailable):
        files.write(name, PNG)
    server.age(bucket, ".aside")
    files.write(name, PNG)
    assert files.renew(name)


def test_a_bucket_that_is_gone_has_lost_no_image(bucket: Bucket, server: S3Server) -> None:
    files = BucketFiles(bucket)
    name = content_hash(PNG)
    server.client().delete_bucket(Bucket=bucket.name)
    for use in (
        files.check,
        partial(files.find_missing, [name]),
        partial(files.read, name),
        partial(files.write, name, PNG),
        partial(files.renew, name),
        partial(files.renewed_at, name[:2]),
        partial(files.set_aside, name, time.time()),
    ):
        with pytest.raises(StorageUnavailable):
            use()


def test_nothing_in_a_bucket_is_shown_as_a_page(bucket: Bucket, server: S3Server) -> None:
    files = BucketFiles(bucket)
    name = content_hash(PNG)
    files.write(name, PNG)
    types = [server.client().head_object(**_at(bucket, name))["ContentType"]]
    assert files.renew(name)
    types.append(server.client().head_object(**_at(bucket, name))["ContentType"])
    assert types == ["application/octet-stream"] * 2


def test_the_key_is_in_no_representation(bucket: Bucket) -> None:
    assert bucket.secret not in repr(bucket)
    assert bucket.key_id not in repr(bucket)
