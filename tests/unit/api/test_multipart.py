"""Headers of forms, in every way that clients write them, and what no client means."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from product_search.api.multipart import FormReader, Part, boundary_of, part_of
from product_search.errors import InvalidRequest

NAME = "藤椅.csv"
BASE64 = base64.b64encode(NAME.encode()).decode()
PERCENT = "%E8%97%A4%E6%A4%85.csv"
FILENAMES = {
    "UTF-8": f'filename="{NAME}"'.encode(),
    "GB18030": f'filename="{NAME}"'.encode("gb18030"),
    "no quotes": f"filename={NAME}".encode(),
    "spaces": f'filename = "{NAME}" '.encode(),
    "a Windows path": f'filename="C:\\表\\{NAME}"'.encode(),
    "a share": f'filename="\\\\host\\表\\{NAME}"'.encode(),
    "an encoded word": f'filename="=?utf-8?B?{BASE64}?="'.encode(),
    "an encoded word without quotes": f"filename==?UTF-8?b?{BASE64}?=".encode(),
    "an encoded word with a language": f'filename="=?utf-8*zh?B?{BASE64}?="'.encode(),
    "a Q word": b'filename="=?utf-8?Q?=E8=97=A4=E6=A4=85?=.csv"',
    "two words": b'filename="=?utf-8?Q?=E8=97=A4?= =?gb18030?B?0s4=?=.csv"',
    "extended": f"filename*=UTF-8''{PERCENT}".encode(),
    "extended with a language": f"filename*=utf-8'zh-CN'{PERCENT}".encode(),
    "extended in quotes": f"filename*=\"UTF-8''{PERCENT}\"".encode(),
    "extended beside a plain one": f"filename=\"a.csv\"; filename*=UTF-8''{PERCENT}".encode(),
    "extended before a plain one": f"filename*=UTF-8''{PERCENT}; filename=\"a.csv\"".encode(),
    "extended in GBK": b"filename*=GBK''%CC%D9%D2%CE.csv",
    "of an unknown charset": f"filename*=nonsense''{PERCENT}".encode(),
    "of a charset that decodes nothing": f"filename*=undefined''{PERCENT}".encode(),
    "without a charset": f"filename*={PERCENT}".encode(),
    "in pieces": b"filename*1*=%A4%E6%A4%85; filename*0*=utf-8''%E8%97; filename*2=.csv",
    "in plain pieces": b'filename*0="%b"; filename*1=".csv"' % "藤椅".encode(),
}


@pytest.mark.parametrize("written", FILENAMES.values(), ids=list(FILENAMES))
def test_a_file_name_is_read_however_it_is_written(written: bytes) -> None:
    assert part_of(b'form-data; name="file"; ' + written) == Part(b"file", NAME)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ('filename="a\\"b\\\\c.csv"', 'a"b\\c.csv'),
        ('filename="a;b=c.csv"', "a;b=c.csv"),
        ('filename="a.csv', '"a.csv'),
        ('filename="=?utf-8?B?!?=.csv"', ".csv"),
        ('filename="=?utf-8?X?a?=.csv"', "=?utf-8?X?a?=.csv"),
        ("filename*=UTF-8''%E8%9.csv", "�%9.csv"),
        ("filename*=unicode_escape''%5Cud800.csv", "\\ud800.csv"),
        ("filename*=punycode''a-b.csv", "a-b.csv"),
        ("filename*=idna''xn--fiq228c.csv", "xn--fiq228c.csv"),
        ("filename*=Shift_JIS''%93%A1.csv", "藤.csv"),
        ("filename*=UTF-16''%FF%FE%E4%85.%00c%00s%00v%00", "藤.csv"),
        ("filename*=utf-8''; filename=a.csv", "a.csv"),
        ("filename*0*=utf-8''%41; filename*99999999=b", "A"),
        ("filename*=utf-8''b.csv; filename*0=a.csv", "b.csv"),
        ('filename=""', ""),
    ],
)
def test_an_odd_file_name_is_still_a_name(written: str, name: str) -> None:
    found = part_of(f'form-data; name="file"; {written}'.encode()).filename
    assert found == name
    found.encode()


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name="title"', b"title"),
        (b"form-data;name=title", b"title"),
        ('form-data; name="标题"'.encode(), "标题".encode()),
        (b'form-data; name=""', b""),
        (b"form-data", None),
        (b"", None),
        (b"form-data; name*=utf-8''title", None),
        (b'form-data; name="a"; name="b"', b"b"),
        (b"form-data; name", None),
        (b"form-data; filename*=utf-8''a.csv; x=\"; name=file", b"file"),
    ],
)
def test_a_field_has_its_plain_name(disposition: bytes, name: bytes | None) -> None:
    assert part_of(disposition).name == name


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=xyz", b"xyz"),
        ('multipart/form-data; charset=utf-8; Boundary="x y"', b"x y"),
        ("multipart/form-data; boundary*=utf-8''x%2Dy", b"x-y"),
        ("multipart/form-data; boundary*0=x; boundary*1=y", b"xy"),
        ("multipart/form-data; boundary=", b""),
        ("multipart/form-data", b""),
        ("", b""),
    ],
)
def test_a_boundary_is_read_from_the_content_type(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


def test_a_boundary_of_other_characters_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        boundary_of("multipart/form-data; boundary*=utf-8''%E5%8C%85")


WORDS = (
    "filename name boundary * 0 1 9999 = ; \" \\ ' % %E5 =? ?= utf-8 idna utf-7 hex ?B? ?Q? +2AA-"
)
PIECES = st.lists(st.sampled_from(WORDS.split()) | st.characters(max_codepoint=0xFF), max_size=30)


@given(PIECES)
def test_no_header_is_too_odd_to_be_read(pieces: list[str]) -> None:
    header = "form-data; " + "".join(pieces)
    part = part_of(header.encode("latin-1"))
    assert part.filename is None or part.filename.encode() is not None
    with suppress(InvalidRequest):
        boundary_of(header)


@given(st.integers(1, 50))
def test_a_form_is_the_same_in_pieces_of_any_size(size: int) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--\r\n--B--\r\n'
    reader = FormReader(b"B")
    found = [one for at in range(0, len(body), size) for one in reader.feed(body[at : at + size])]
    assert found[0] == Part(b"a", None)
    assert b"".join(one for one in found[1:] if isinstance(one, bytes)) == b"\r\n--"
    assert reader.is_whole
