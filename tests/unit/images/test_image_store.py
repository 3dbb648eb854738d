"""The image store: keyed by content, whole or absent, thumbnails made once."""

from __future__ import annotations

import hashlib
import io
import time
from pathlib import Path

import pytest
from PIL import Image

from product_search.errors import ImageNotFound, InvalidImage
from product_search.images.decoding import decode_measured
from product_search.images.processes.messages import Decoded
from product_search.images.store import THUMBNAIL_SIDES, ImageStore, content_hash
from tests.unit import pictures
from tests.unit.pictures import age, encoded, file_of, four_colours, noise

PNG = encoded(four_colours(size=(300, 150)), "PNG")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_image_is_kept_as_it_came_under_its_hash(store: ImageStore, tmp_path: Path) -> None:
    image_hash = store.save(PNG)
    assert image_hash == hashlib.sha256(PNG).hexdigest()
    assert file_of(store, image_hash).read_bytes() == PNG
    assert files_in(tmp_path) == [file_of(store, image_hash)]


def test_the_same_image_is_kept_once(store: ImageStore, tmp_path: Path) -> None:
    assert not store.renew(content_hash(PNG))
    first = store.save(PNG)
    assert store.save(PNG) == first
    assert store.renew(first)
    assert len(files_in(tmp_path)) == 1


def test_an_upload_is_decoded_once_and_not_again_while_it_is_stored(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []

    def counting(content: bytes) -> Decoded:
        decoded.append(content)
        return decode_measured(content)

    monkeypatch.setattr("product_search.images.store.decode_measured", counting)
    first = store.save_upload(PNG)
    assert (store.save_upload(PNG), decoded) == (first, [PNG])
    file_of(store, first).write_bytes(PNG[:200])
    assert (store.save_upload(PNG), decoded) == (first, [PNG, PNG])
    assert store.original(first).content == PNG


def test_a_costly_image_is_decoded_once_and_seen_the_same_ever_after(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costly = Decoded(noise((90, 60)), cpu_s=2.0)
    monkeypatch.setattr("product_search.images.store.decode_measured", lambda *_: costly)
    image_hash = store.save_upload(PNG)
    monkeypatch.setattr("product_search.images.store.decode_measured", None)
    assert store.load(image_hash).tobytes() == costly.image.tobytes()
    assert store.thumbnail(image_hash, 64).media_type == "image/webp"
    assert store.set_aside(image_hash, before=time.time() + 9)
    store.drop_aside(image_hash)
    assert files_in(tmp_path) == []


def test_a_costly_image_that_was_not_kept_is_kept_when_it_is_first_seen(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_hash = store.save(PNG)
    costly = Decoded(noise((90, 60)), cpu_s=2.0)
    monkeypatch.setattr("product_search.images.store.decode_measured", lambda *_: costly)
    store.load(image_hash)
    monkeypatch.setattr("product_search.images.store.decode_measured", None)
    assert store.load(image_hash).tobytes() == costly.image.tobytes()


def test_a_kept_image_that_a_power_cut_has_emptied_is_decoded_again(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costly = Decoded(noise((90, 60)), cpu_s=2.0)
    monkeypatch.setattr("product_search.images.store.decode_measured", lambda *_: costly)
    image_hash = store.save_upload(PNG)
    (kept,) = tmp_path.rglob("seen-*/*/*.webp")
    kept.write_bytes(b"")
    assert store.load(image_hash).tobytes() == costly.image.tobytes()
    assert kept.stat().st_size > 0


def test_an_upload_that_is_no_image_is_not_stored(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidImage):
        store.save_upload(b"no image")
    assert files_in(tmp_path) == []


def test_an_image_that_is_used_again_is_as_new(store: ImageStore) -> None:
    image_hash = store.save(PNG)
    age(file_of(store, image_hash))
    assert store.reuse(image_hash) == PNG
    assert not store.set_aside(image_hash, time.time() - 60)
    file_of(store, image_hash).unlink()
    with pytest.raises(ImageNotFound):
        store.reuse(image_hash)


def test_a_kept_image_is_read_back(store: ImageStore) -> None:
    image = store.load(store.save(PNG))
    assert (image.mode, image.size) == ("RGB", (300, 150))


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("jpeg", "image/jpeg"),
        ("png", "image/png"),
        ("animated gif", "image/gif"),
        ("animated webp", "image/webp"),
        ("bmp", "image/bmp"),
        ("tiff", "image/tiff"),
    ],
)
def test_the_original_comes_with_the_type_of_its_bytes(
    store: ImageStore, name: str, media_type: str
) -> None:
    content = pictures.good_images()[name]
    original = store.original(store.save(content))
    assert (original.content, original.media_type) == (content, media_type)
    assert original.etag == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("side", THUMBNAIL_SIDES)
def test_a_thumbnail_fits_its_side_and_is_never_enlarged(store: ImageStore, side: int) -> None:
    thumbnail = store.thumbnail(store.save(PNG), side)
    image = Image.open(io.BytesIO(thumbnail.content))
    width = min(300, side)
    assert (image.format, thumbnail.media_type) == ("WEBP", "image/webp")
    assert image.size == (width, width // 2)


def test_a_thumbnail_is_made_once(store: ImageStore) -> None:
    image_hash = store.save(PNG)
    first = store.thumbnail(image_hash, 64)
    file_of(store, image_hash).unlink()
    assert store.thumbnail(image_hash, 64) == first


def test_each_size_has_a_tag_of_its_own(store: ImageStore) -> None:
    image_hash = store.save(PNG)
    tags = {store.thumbnail(image_hash, side).etag for side in THUMBNAIL_SIDES}
    assert len(tags | {store.original(image_hash).etag}) == len(THUMBNAIL_SIDES) + 1


def test_an_unknown_thumbnail_size_is_a_mistake_of_the_caller(store: ImageStore) -> None:
    with pytest.raises(ValueError, match="side is one of"):
        store.thumbnail(store.save(PNG), 65)


def test_a_lost_file_is_said_to_be_lost(store: ImageStore) -> None:
    image_hash = store.save(PNG)
    file_of(store, image_hash).unlink()
    for read in (store.load, store.original, lambda name: store.thumbnail(name, 64)):
        with pytest.raises(ImageNotFound):
            read(image_hash)


def test_a_damaged_file_is_said_to_be_damaged(store: ImageStore) -> None:
    image_hash = store.save(PNG)
    file_of(store, image_hash).write_bytes(PNG[:200])
    with pytest.raises(ImageNotFound):
        store.load(image_hash)


def test_an_image_that_is_set_aside_is_unknown_until_it_is_put_back(store: ImageStore) -> None:
    image_hash = store.save(PNG)
    age(file_of(store, image_hash))
    assert store.set_aside(image_hash, time.time() - 60)
    assert (store.renew(image_hash), store.find_missing([image_hash])) == (False, {image_hash})
    store.put_back(image_hash)
    assert store.renewed_at(image_hash[:2])[image_hash] >= time.time() - 60
    assert store.renew(image_hash)


def test_an_image_that_was_found_again_since_is_not_set_aside(store: ImageStore) -> None:
    image_hash = store.save(PNG)
    age(file_of(store, image_hash))
    before = time.time() - 60
    assert store.renewed_at(image_hash[:2])[image_hash] < before
    assert store.renew(image_hash)
    assert not store.set_aside(image_hash, before)
    assert not store.find_missing([image_hash])


def test_what_a_crash_has_left_is_tidied(store: ImageStore) -> None:
    image_hash = store.save(PNG)
    age(file_of(store, image_hash))
    store.set_aside(image_hash, time.time() - 60)
    folder = file_of(store, image_hash).parent
    half, writing, foreign = folder / "partial-a", folder / "partial-b", folder / "foreign.aside"
    for path in (half, writing, foreign):
        path.write_bytes(b"")
    age(half)
    age(foreign)
    store.tidy(image_hash[:2], time.time() - 60)
    assert sorted(folder.iterdir()) == sorted([file_of(store, image_hash), writing, foreign])


def test_a_hash_that_is_none_has_no_image(store: ImageStore) -> None:
    assert store.find_missing(["../../etc/passwd"]) == {"../../etc/passwd"}


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "0" * 63, "G" * 64, "A" * 64, "0" * 64 + "\n"]
)
def test_only_a_hash_becomes_a_path(store: ImageStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a content hash"):
        file_of(store, name)
