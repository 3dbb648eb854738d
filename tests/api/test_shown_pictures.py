"""What others are shown of pictures: clean files, which no browser takes for anything else."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image

from product_search.images.decoding import decode
from product_search.images.formats import readers
from product_search.images.provenance import NOTICE, says_generated
from tests.api.helpers import base64_of, code_of, create
from tests.api.studio import (
    Studio,
    pipeline as pipeline,
    shop as shop,
    some as some,
    with_model as with_model,
)
from tests.unit.images.test_provenance import SOURCE
from tests.unit.pictures import SVG, encoded, four_colours, noise
from tests.unit.telling import SECRET, TELLING, chunk, displayed

SCRIPT = b"<html><body><script>alert(document.domain)</script></body></html>"
PDF = b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF\n"
POLICY = "default-src 'none'; sandbox"
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}


def shown(api: TestClient, content: bytes, query: str = "") -> Response:
    """The picture as a visitor's browser gets it."""
    product = create(api, image_base64=base64_of(content))
    answer: Response = api.get(f"{product['image_url']}{query}")
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("name", TELLING)
def test_nobody_is_told_where_a_picture_was_taken(api: TestClient, name: str) -> None:
    told = TELLING[name]()
    for query in ("", "?size=64", "?size=1024"):
        answer = shown(api, told, query)
        assert b"GPS" not in answer.content
        assert SECRET[-2:] not in answer.content[-40:]
    assert decode(shown(api, told).content).tobytes() == decode(told).tobytes()


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "AVIF", "JXL"])
def test_what_browsers_do_not_show_is_shown_as_webp(api: TestClient, kind: str) -> None:
    readers()
    told = displayed(kind)
    assert b"GPS" in told
    answer = shown(api, told)
    assert answer.headers["content-type"] == "image/webp"
    assert b"GPS" not in answer.content
    seen, sent = Image.open(io.BytesIO(answer.content)), decode(told)
    assert (seen.format, seen.size, dict(seen.getexif())) == ("WEBP", sent.size, {})
    again = shown(api, told)
    assert (again.content, again.headers["etag"]) == (answer.content, answer.headers["etag"])


def jpeg_and_page() -> bytes:
    plain = encoded(four_colours(), "JPEG")
    remark = b"\xff\xfe" + (len(SCRIPT) + 6).to_bytes(2, "big") + b"-->" + SCRIPT + b"/"
    return plain[:20] + remark + plain[20:] + SCRIPT


def gif_and_program() -> bytes:
    """A GIF whose width reads `/*`: a browser could take all of it for a program."""
    plain = encoded(Image.new("P", (0x2A2F, 1)), "GIF")
    assert plain[:8] == b"GIF87a/*"
    remark = b"*/=1;alert(1);/*"
    start = plain.index(b",", 13)
    told = b"!\xfe" + bytes((len(remark),)) + remark + b"\0"
    return plain[:start] + told + plain[start:] + b"*/=1;alert(2)"


def png_and_archive() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.html", SCRIPT)
    return encoded(four_colours(), "PNG") + archive.getvalue()


def png_and_document() -> bytes:
    plain = encoded(four_colours(), "PNG")
    return plain[:33] + chunk(b"tEXt", b"a\0" + PDF) + plain[33:] + PDF


def jpeg_and_document() -> bytes:
    plain = encoded(four_colours(), "JPEG")
    return plain[:2] + b"\xff\xed" + (len(PDF) + 2).to_bytes(2, "big") + PDF + plain[2:]


def webp_and_page() -> bytes:
    plain = encoded(four_colours(), "WEBP")
    return plain + SCRIPT


PLAIN = {kind: encoded(four_colours(), kind) for kind in ("JPEG", "PNG", "WEBP")} | {
    "GIF": encoded(Image.new("P", (0x2A2F, 1)), "GIF")
}
POLYGLOTS = {
    "jpeg and page": ("JPEG", jpeg_and_page()),
    "gif and program": ("GIF", gif_and_program()),
    "png and archive": ("PNG", png_and_archive()),
    "png and document": ("PNG", png_and_document()),
    "jpeg and document": ("JPEG", jpeg_and_document()),
    "webp and page": ("WEBP", webp_and_page()),
}


@pytest.mark.parametrize("name", POLYGLOTS)
def test_a_file_that_is_something_else_as_well_is_shown_as_a_picture_alone(
    api: TestClient, name: str
) -> None:
    kind, content = POLYGLOTS[name]
    answer = shown(api, content)
    assert answer.content == PLAIN[kind]  # byte for byte what the picture alone would be
    assert answer.headers["content-type"] == TYPES[kind]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == POLICY
    assert not zipfile.is_zipfile(io.BytesIO(answer.content))


NO_PICTURES = {
    "svg": SVG,
    "svg with a script": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "svg behind a mark of order": b"\xef\xbb\xbf" + SVG,
    "page": SCRIPT,
    "document": PDF,
    "document before a picture": PDF + encoded(four_colours(), "JPEG"),
    "page before a picture": SCRIPT + encoded(four_colours(), "PNG"),
    "archive": png_and_archive()[len(encoded(four_colours(), "PNG")) :],
    "icon": encoded(four_colours(), "ICO"),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
}


@pytest.mark.parametrize("name", NO_PICTURES)
@pytest.mark.parametrize("said", ["image/png", "image/svg+xml"])
def test_what_is_no_picture_is_refused_whatever_it_is_called(
    api: TestClient, name: str, said: str
) -> None:
    file = {"image": ("a.png", NO_PICTURES[name], said)}
    answer = api.post("/product", data={"title": "书包"}, files=file)
    assert code_of(answer) == (422, "invalid_image")


@pytest.mark.parametrize("query", ["", "?size=64"])
def test_a_browser_takes_a_picture_for_nothing_else(api: TestClient, query: str) -> None:
    product = create(api, image_base64=base64_of(jpeg_and_page()))
    url = f"{product['image_url']}{query}"
    first = api.get(url)
    again = api.get(url, headers={"if-none-match": first.headers["etag"]})
    suffix = "webp" if query else "jpg"
    assert (first.status_code, again.status_code) == (200, 304)
    for answer in (first, again):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        name = f"product-{product['product_id']}.{suffix}"
        assert answer.headers["content-disposition"] == f'inline; filename="{name}"'


def test_the_tag_is_of_what_is_shown(api: TestClient) -> None:
    """Two files with the same picture in them are shown alike, and each revalidates its own."""
    content = encoded(noise((50, 40), 3), "PNG")
    first, second = shown(api, content), shown(api, content + SCRIPT)
    assert first.content == second.content == content
    assert first.headers["etag"] != second.headers["etag"]


def test_a_generated_picture_says_so_wherever_it_is_shown(
    shop: Studio, some: dict[str, Any]
) -> None:
    wanted = {"generation_id": some["generation_id"], "number": 1}
    product = create(shop.api, title="画的", generation=wanted)
    url = some["pictures"][0]["image_url"]
    for address in (
        url,
        f"{url}?size=256",
        product["image_url"],
        f"{product['image_url']}?size=64",
    ):
        answer = shop.api.get(address)
        image = Image.open(io.BytesIO(answer.content))
        told = image.info.get("XML:com.adobe.xmp") or image.info["xmp"].decode()
        (source,) = ElementTree.fromstring(told).iter(SOURCE)
        assert (source.text or "").endswith("/trainedAlgorithmicMedia")
        assert answer.headers["content-security-policy"] == POLICY
    whole = Image.open(io.BytesIO(shop.api.get(product["image_url"]).content))
    assert whole.info["Comment"] == NOTICE
    assert whole.info["Seed"] == str(some["pictures"][0]["seed"])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_that_another_program_generated_still_says_so(
    shop: Studio, some: dict[str, Any], kind: str
) -> None:
    packet = Image.open(io.BytesIO(shop.picture(some))).info["XML:com.adobe.xmp"].encode()
    told = encoded(four_colours(), kind, xmp=packet) + packet + SCRIPT
    answer = shown(shop.api, told)
    assert says_generated(answer.content)
    assert b"alert" not in answer.content
