"""Imports over HTTP: accepted once the file is kept, followed by their id, refused by code."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient

from main import create_app
from product_search.bulk.importer import import_file
from product_search.errors import ImportFileError
from product_search.runs import queue
from product_search.runs.queue import RunKind
from product_search.settings import Settings
from tests.api.helpers import Answer, code_of, fields_of, form, listed, resources
from tests.sessions import reading, writing
from tests.unit.pictures import bomb_whole, encoded, four_colours, over_ten_megabytes
from tests.zips import TABLE, damaged, encrypted, named_in, with_size, without_name, zipped

PNG = encoded(four_colours(), "PNG")
CSV = "sku,title,price\nA,红色双肩包,129.00\nB,保温杯,-1\nC,雨伞,20\n"
MAX_BYTES = 200_000
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """A service that takes small uploads only."""
    settings = open_settings().model_copy(update={"import_max_bytes": MAX_BYTES})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def send(api: TestClient, name: str, content: str | bytes) -> Answer:
    return api.post("/product/import", files={"file": (name, content)})


def ended(api: TestClient | httpx.Client, import_id: int) -> dict[str, Any]:
    """The import's status once it has ended."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        status = cast(dict[str, Any], api.get(f"/product/import/{import_id}").json())
        if status["state"] not in ("queued", "running"):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.02)


def imported(api: TestClient, name: str, content: str | bytes) -> dict[str, Any]:
    answer = send(api, name, content)
    assert answer.status_code == 202, answer.content
    accepted = answer.json()
    assert accepted["state"] == "queued"
    assert accepted["status_url"] == f"/product/import/{accepted['import_id']}"
    return ended(api, accepted["import_id"])


def counts(status: dict[str, Any]) -> tuple[int, int, int, int, int, int]:
    return (
        status["rows_total"],
        status["rows_done"],
        status["created"],
        status["updated"],
        status["unchanged"],
        status["bad"],
    )


def uploads(api: TestClient) -> list[Path]:
    folder = resources(api).settings.imports_dir
    return list(folder.iterdir()) if folder.is_dir() else []


def by_sku(api: TestClient, sku: str) -> dict[str, Any]:
    items = listed(api, page_size=100)["items"]
    return next(cast(dict[str, Any], item) for item in items if item["sku"] == sku)


def test_a_csv_goes_in_and_its_bad_rows_are_told(api: TestClient) -> None:
    status = imported(api, "商品.CSV", CSV)
    assert (status["state"], status["file"], status["error"]) == ("done", "商品.CSV", None)
    assert counts(status) == (3, 3, 2, 0, 0, 1)
    assert [row["line"] for row in status["bad_rows"]] == [3]
    assert "price" in status["bad_rows"][0]["reason"]
    assert status["next_after"] is None
    assert status["created_at"] <= status["started_at"] <= status["finished_at"]
    assert by_sku(api, "A")["price"] == "129.00"
    assert uploads(api) == []
    assert counts(imported(api, "again.csv", CSV)) == (3, 3, 0, 0, 2, 1)
    assert counts(imported(api, "c.csv", "sku,title\nC,大雨伞\n")) == (1, 1, 0, 1, 0, 0)


def test_jsonl_goes_in_in_the_encoding_of_a_spreadsheet_too(api: TestClient) -> None:
    rows = [{"sku": "J-1", "title": "书🎒", "attributes": {"n": [1, 1.5, None]}}, {"sku": "J-2"}]
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    status = imported(api, "a.jsonl", text.encode("gb18030"))
    assert counts(status) == (2, 2, 1, 0, 0, 1)
    assert by_sku(api, "J-1")["attributes"] == {"n": [1, 1.5, None]}


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("folder", ["", "店铺/"])
def test_a_zip_goes_in_with_its_images(api: TestClient, encoding: str, folder: str) -> None:
    sku = f"Z-{encoding}-{folder}"
    rows = (
        f"sku,title,image_path\n{sku}1,一,图片/红.png\n{sku}2,二,./图片//红.png\n"
        f"{sku}3,三,根.png\n{sku}4,四,图片\\红.png\n"
    )
    files = (
        (f"{folder}商品.csv", rows.encode(encoding)),
        (f"{folder}图片/红.png", PNG),
        ("根.png", PNG),
        ("__MACOSX/._商品.csv", b"\0\0"),
        (f"{folder}.hidden.csv", b""),
    )
    status = imported(api, "商品.zip", named_in(encoding, *files))
    assert counts(status) == (4, 4, 4, 0, 0, 0), status["bad_rows"]
    for number in range(1, 5):
        product = by_sku(api, f"{sku}{number}")
        assert api.get(product["image_url"]).content == PNG


BAD_IMAGES = {
    "../a.png": PNG,
    "/a.png": PNG,
    "none.png": PNG,
    "folder": PNG,
    "text.png": b"text",
    "bomb.png": bomb_whole(),
    "large.png": over_ten_megabytes(),
    "cut.png": PNG,
}


def test_a_bad_image_in_a_zip_is_a_bad_row_and_the_rest_goes_in(
    open_settings: Callable[[], Settings],
) -> None:
    rows = "".join(f"P-{n},书,{path}\n" for n, path in enumerate(BAD_IMAGES))
    table = f"sku,title,image_path\n{rows}P-ok,书,good.png\n"
    files = [("folder/inside.png", PNG), ("good.png", PNG)]
    files += [(name, BAD_IMAGES[name]) for name in ("text.png", "bomb.png", "large.png")]
    files += [("cut.png", PNG)]
    whole = zipped(("t/a.csv", table.encode()), *((f"t/{n}", c) for n, c in files))
    broken = damaged(whole, whole.rindex(b"t/cut.png", 0, whole.index(b"PK\x01\x02")) + 40)
    with TestClient(create_app(open_settings())) as api:
        status = imported(api, "a.zip", broken)
        assert counts(status) == (9, 9, 1, 0, 0, 8)
        assert [row["line"] for row in status["bad_rows"]] == list(range(2, 10))


REFUSED: dict[str, tuple[str, str | bytes, int, str]] = {
    "another kind": ("a.xlsx", CSV, 415, "import_type_unknown"),
    "no suffix": ("csv", CSV, 415, "import_type_unknown"),
    "no encoding": ("a.csv", b"sku,title\nA,\xff\xff\n", 422, "import_encoding_unknown"),
    "a zip named csv": ("a.csv", zipped(TABLE), 422, "import_encoding_unknown"),
    "unknown column": ("a.csv", "sku,title,colour\nA,一,红\n", 422, "import_header_invalid"),
    "no sku": ("a.csv", "title\n一\n", 422, "import_header_invalid"),
    "empty": ("a.csv", "", 422, "import_header_invalid"),
    "no csv": ("a.csv", 'sku,"ti"tle\n', 422, "import_header_invalid"),
    "header in a zip": ("a.zip", zipped(("a.csv", b"title\n")), 422, "import_header_invalid"),
    "encoding in a zip": ("a.zip", zipped(("a.csv", b"\xff")), 422, "import_encoding_unknown"),
    "no zip": ("a.zip", CSV, 422, "zip_unreadable"),
    "an empty file": ("a.zip", b"", 422, "zip_unreadable"),
    "half a zip": ("a.zip", zipped(TABLE)[:60], 422, "zip_unreadable"),
    "without its head": ("a.zip", zipped(TABLE)[20:], 422, "zip_unreadable"),
    "a damaged table": ("a.zip", damaged(zipped(TABLE), 46), 422, "zip_unreadable"),
    "bzip2": ("a.zip", zipped(TABLE, packed=zipfile.ZIP_BZIP2), 422, "zip_unreadable"),
    "lzma": ("a.zip", zipped(TABLE, packed=zipfile.ZIP_LZMA), 422, "zip_unreadable"),
    "a password": ("a.zip", encrypted(TABLE), 422, "zip_encrypted"),
    "a table without a name": ("a.zip", without_name(zipped(TABLE)), 422, "zip_table_count"),
    "an empty zip": ("a.zip", zipped(), 422, "zip_table_count"),
    "pictures only": ("a.zip", zipped(("a.png", PNG)), 422, "zip_table_count"),
    "two tables": ("a.zip", zipped(TABLE, ("b/c.jsonl", b"")), 422, "zip_table_count"),
    "up": ("a.zip", zipped(TABLE, ("../a.png", PNG)), 422, "zip_unsafe_name"),
    "up inside": ("a.zip", zipped(TABLE, ("a/../../a.png", PNG)), 422, "zip_unsafe_name"),
    "up, as Windows": ("a.zip", zipped(TABLE, ("a\\..\\..\\b", PNG)), 422, "zip_unsafe_name"),
    "absolute": ("a.zip", zipped(TABLE, ("/etc/passwd", b"")), 422, "zip_unsafe_name"),
    "a drive": ("a.zip", zipped(TABLE, ("C:\\a.png", b"")), 422, "zip_unsafe_name"),
    "two of a name": ("a.zip", zipped(TABLE, ("./products.csv", b"")), 422, "zip_unsafe_name"),
    "a table as a bomb": (
        "a.zip",
        zipped(("a.csv", b"sku,title\n" + b"\n" * MAX_BYTES)),
        413,
        "zip_too_large",
    ),
    "a bomb": ("a.zip", zipped(TABLE, ("a.png", bytes(2 * MAX_BYTES))), 413, "zip_too_large"),
    "many bombs": (
        "a.zip",
        zipped(TABLE, *((f"{n}.png", bytes(10_000)) for n in range(50))),
        413,
        "zip_too_large",
    ),
    "a bomb that lies": (
        "a.zip",
        with_size(zipped(("a.csv", b"sku,title\n" + b"\n" * 10_000)), "a.csv", 20),
        422,
        "zip_unreadable",
    ),
    "too large": ("a.csv", "sku,title\n" + "\n" * MAX_BYTES, 413, "payload_too_large"),
}


def test_a_refusal_names_the_file_as_it_was_sent(api: TestClient) -> None:
    answer = send(api, "目录.csv", "sku,title\nA,书包\n".encode("utf-16"))
    assert code_of(answer)[0] == 422
    assert "目录.csv" in answer.json()["message"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_wrong_as_a_whole_is_refused_at_once(api: TestClient, name: str) -> None:
    filename, content, status, code = REFUSED[name]
    assert code_of(send(api, filename, content)) == (status, code)
    assert uploads(api) == []


def test_a_zip_of_too_many_files_is_refused_before_its_directory_is_held(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = zipped(TABLE, *((f"{number}", b"") for number in range(100)))
    monkeypatch.setattr("product_search.bulk.sources.MAX_ENTRIES", 100)
    assert code_of(send(api, "a.zip", many)) == (413, "zip_too_large")
    monkeypatch.setattr("product_search.bulk.sources._MAX_DIRECTORY", 2000)
    assert code_of(send(api, "a.zip", many)) == (413, "zip_too_large")
    assert uploads(api) == []


PART = 'Content-Disposition: form-data; name="file"; filename="a.csv"'
OTHER = 'Content-Disposition: form-data; name="title"'
TEXT = 'Content-Disposition: form-data; name="file"'


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([], "file"),
        ([(OTHER, b"x")], "title"),
        ([(PART, CSV.encode()), (OTHER, b"x")], "title"),
        ([(PART, CSV.encode()), (PART, CSV.encode())], "file"),
        ([(TEXT, CSV.encode())], "file"),
    ],
)
def test_a_form_of_anything_but_one_file_is_refused(
    api: TestClient, parts: list[tuple[str, bytes]], field: str
) -> None:
    answer = api.post("/product/import", **form("xyz", *parts))
    assert code_of(answer) == (422, "invalid_request")
    assert not parts or fields_of(answer) == {field}
    assert uploads(api) == []


def test_a_form_that_is_cut_off_or_no_form_is_refused(api: TestClient) -> None:
    body = form("xyz", (PART, CSV.encode()))
    for content in (body["content"][:-10], body["content"][:-60], b"", b"nonsense"):
        answer = api.post("/product/import", **(body | {"content": content}))
        assert code_of(answer) == (422, "invalid_request")
    for headers in ({}, {"content-type": "text/csv"}, {"content-type": "multipart/form-data"}):
        answer = api.post("/product/import", content=CSV.encode(), headers=headers)
        assert code_of(answer) == (415, "unsupported_media_type")
    assert uploads(api) == []


def test_bad_rows_come_in_pages(api: TestClient) -> None:
    rows = "".join(f"K-{number},书,-1\n" for number in range(7))
    status = imported(api, "a.csv", f"sku,title,price\n{rows}")
    url = f"/product/import/{status['import_id']}"
    lines: list[int] = []
    after: int | None = 0
    pages = 0
    while after is not None:
        page = api.get(url, params={"after": after, "limit": 3}).json()
        lines += [row["line"] for row in page["bad_rows"]]
        after, pages = page["next_after"], pages + 1
    assert (lines, pages) == ([2, 3, 4, 5, 6, 7, 8], 3)
    for query in ({"limit": 0}, {"limit": 1001}, {"after": -1}, {"after": "x"}):
        assert code_of(api.get(url, params=query)) == (422, "invalid_request")


def test_an_import_that_is_not_there_is_told(api: TestClient) -> None:
    with writing(resources(api).database) as session:
        other = queue.enqueue(session, RunKind.doctor, {}).id
    for import_id in (999_999, other):
        assert code_of(api.get(f"/product/import/{import_id}")) == (404, "import_not_found")
    assert code_of(api.get("/product/import/0")) == (422, "invalid_request")


def test_no_more_bad_rows_are_noted_than_a_person_reads(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("product_search.bulk.importer.MAX_BAD_ROWS", 5)
    monkeypatch.setattr("product_search.bulk.importer.BATCH_SIZE", 3)
    status = imported(api, "a.csv", "sku,title\n" + "X,\n" * 20)
    assert (status["bad"], len(status["bad_rows"]), status["next_after"]) == (20, 5, None)


def test_an_import_of_the_command_is_followed_by_its_id_too(
    api: TestClient, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("sku,title\nL-1,书\nL-2,\n", "utf-8")
    import_file(resources(api).catalog, tmp_path / "a.csv", tmp_path)
    with reading(resources(api).database) as session:
        run = queue.find_latest(session, RunKind.local_import)
        assert run is not None
    status = ended(api, run.id)
    assert (status["state"], status["file"]) == ("done", "a.csv")
    assert counts(status) == (2, 2, 1, 0, 0, 1)


def test_a_file_that_is_gone_when_its_turn_comes_fails_the_import(
    open_settings: Callable[[], Settings], tmp_path: Path
) -> None:
    settings = open_settings()
    with TestClient(create_app(settings)) as api:
        resources(api).run_executor.stop()
        accepted = send(api, "a.csv", CSV).json()
        for path in uploads(api):
            path.unlink()
    with TestClient(create_app(settings)) as api:
        status = ended(api, accepted["import_id"])
        assert status["state"] == "failed"
        assert status["error"]
        with pytest.raises(ImportFileError):
            import_file(resources(api).catalog, tmp_path / "none.csv", tmp_path)


def test_files_that_nobody_waits_for_are_gone_after_the_next_start(
    open_settings: Callable[[], Settings],
) -> None:
    settings = open_settings()
    with TestClient(create_app(settings)) as api:
        resources(api).run_executor.stop()
        accepted = send(api, "a.csv", CSV).json()
        (settings.imports_dir / "left").write_bytes(b"by a process that died")
        coming = resources(api).imports.new_upload()  # another service's, on the same folder
    with TestClient(create_app(settings)) as api:
        assert counts(ended(api, accepted["import_id"])) == (3, 3, 2, 0, 0, 1)
        assert [path for path in uploads(api) if path != coming.path] == []
        assert coming.path.exists()
        coming.close()
        assert uploads(api) == []
