"""An image that lacks its end goes in, and every answer that takes it says so."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from product_search.cli import manage
from tests.clock import until
from tests.unit.pictures import encoded, noise

WHOLE = encoded(noise((120, 120)), "JPEG")
CUT = WHOLE[:-2]


def test_a_product_with_an_image_cut_short_is_created_with_a_warning(api: TestClient) -> None:
    for query in ("", "?wait=true"):
        answer = api.post(f"/product{query}", data={"title": "包"}, files={"image": CUT})
        assert answer.status_code == 201
        (warning,) = answer.json()["warnings"]
        assert "不完整" in warning
    url = f"/product/{answer.json()['product_id']}"
    assert api.get(answer.json()["image_url"]).content == CUT + b"\xff\xd9"
    assert "warnings" not in api.get(url).json()
    whole = api.post("/product", data={"title": "包"}, files={"image": WHOLE})
    assert "warnings" not in whole.json()
    assert "warnings" not in api.patch(url, json={"title": "书包"}).json()
    for query in ("", "?wait=true"):
        changed = api.patch(f"{url}{query}", files={"image": CUT})
        assert len(changed.json()["warnings"]) == 1


def test_one_cut_in_the_middle_is_refused(api: TestClient) -> None:
    answer = api.post("/product", data={"title": "包"}, files={"image": WHOLE[: len(WHOLE) // 2]})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_image")


def test_a_search_by_such_an_image_says_so_too(api: TestClient) -> None:
    for content, count in ((CUT, 1), (WHOLE, 0)):
        assert (
            len(api.post("/search", files={"image": content}).json().get("warnings", [])) == count
        )
        text = base64.b64encode(content).decode()
        answer = api.post("/search", json={"image_base64": text})
        assert len(answer.json().get("warnings", [])) == count


def catalog_zip() -> bytes:
    """One product with a whole image, one without its end, one without its half."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", "sku,title,image_path\n1,一,1.jpg\n2,二,2.jpg\n3,三,3.jpg\n")
        for name, content in (("1", WHOLE), ("2", CUT), ("3", WHOLE[: len(WHOLE) // 2])):
            archive.writestr(f"{name}.jpg", content)
    return buffer.getvalue()


def test_an_import_tells_warnings_apart_from_bad_rows(api: TestClient) -> None:
    answer = api.post("/product/import", files={"file": ("a.zip", catalog_zip())})
    url = answer.json()["status_url"]
    until(lambda: api.get(url).json()["state"] == "done", "the end of the import")
    status = api.get(url).json()
    assert (status["created"], status["bad"], status["warned"]) == (2, 1, 1)
    assert [row["line"] for row in status["bad_rows"]] == [4]
    ((line, reason),) = [(row["line"], row["reason"]) for row in status["warnings"]]
    assert line == 3
    assert "不完整" in reason


def test_the_command_tells_warnings_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PRODUCT_SEARCH_ENCODER", "starter")
    file = tmp_path / "a.zip"
    file.write_bytes(catalog_zip())
    assert manage.main(["import", str(file)]) == 1
    assert "第 3 行（已导入）" in caplog.text
