"""Forms taken apart as their bytes come, with file names in every way that clients write."""

from __future__ import annotations

import base64
import quopri
import re
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import MultipartParser

from product_search.errors import InvalidRequest

_PARAMETER = re.compile(
    r';[ \t]*([^=;\s"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"[ \t]*(?=;|$)|([^;]*))'
)
_EXTENDED = re.compile(r"([^*]+)\*(?:([0-9]{1,3})(\*)?)?", re.ASCII)
_ENCODED_WORD = re.compile(
    r"=\?([^?*]+)(?:\*[^?]*)?\?([bq])\?([^?]*)\?=(?:[ \t]+(?==\?))?", re.IGNORECASE
)

# Those of file names that clients write. Of the others some take time that grows with the square
# of the name's length, as IDNA and Punycode do.
_CHARSETS = frozenset(
    {
        *("utf-8", "utf8", "utf-16", "us-ascii", "ascii"),
        *("iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"),
        *("gb18030", "gbk", "gb2312", "big5", "shift-jis"),
    }
)


class Part(NamedTuple):
    """What the headers of a part say: the field's name as sent, and the file's, if it is a file."""

    name: bytes | None
    filename: str | None


class FormReader:
    """The form of one request, taken apart as it comes."""

    def __init__(self, boundary: bytes) -> None:
        """Start before the first boundary. Raises FormParserError for one that is too long."""
        self.is_whole = False
        self._found: list[Part | bytes] = []
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._add_content,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> list[Part | bytes]:
        """Return what the next bytes hold: a Part where one begins, and pieces of its content.

        Raises FormParserError where the form is malformed.
        """
        self._parser.write(chunk)
        found, self._found = self._found, []
        return found

    def _begin_part(self) -> None:
        self._header = self._value = self._disposition = b""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _begin_content(self) -> None:
        self._found.append(part_of(self._disposition))

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def _end(self) -> None:
        self.is_whole = True


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type header names; empty where it names none.

    Raises InvalidRequest where RFC 2231's form of it holds characters that no boundary may have.
    """
    given = _parameters(content_type)
    boundary = given.get("boundary") or given.get("boundary*") or ""
    try:
        return boundary.encode("latin-1")
    except UnicodeEncodeError as error:
        raise InvalidRequest("multipart 请求体有误：boundary 只能含 ASCII 字符") from error


def part_of(disposition: bytes) -> Part:
    """Return what the value of a Content-Disposition header says.

    A file's name may be UTF-8 or GB18030 as it is, an encoded word of RFC 2047 (as .NET writes
    it), or `filename*` of RFC 5987 and 2231, which wins. RFC 7578 forbids that one; clients send
    it all the same.
    """
    given = _parameters(disposition.decode("latin-1"))
    name, plain = given.get("name"), given.get("filename")
    filename = given.get("filename*") or (None if plain is None else _filename(plain))
    return Part(None if name is None else name.encode("latin-1"), filename)


def _parameters(header: str) -> dict[str, str]:
    """Return a header's parameters by name: as Latin-1, those whose name ends in `*` decoded.

    Continuations (`name*0*`, `name*1`, …) are joined under `name*`.
    """
    plain: dict[str, str] = {}
    extended: dict[str, dict[int, bytes]] = {}
    charsets: dict[str, str] = {}
    for key, quoted, bare in _PARAMETER.findall(header):
        value = re.sub(r'\\([\\"])', r"\1", quoted) or bare.strip()
        match = _EXTENDED.fullmatch(key)
        if match is None:
            plain[key.lower()] = value
            continue
        name, number, is_encoded = match[1].lower(), int(match[2] or -1), not match[2] or match[3]
        if is_encoded and number < 1 and value.count("'") >= 2:
            charsets[name], _, value = value.split("'", 2)
        content = value.encode("latin-1")
        extended.setdefault(name, {})[number] = unquote_to_bytes(content) if is_encoded else content
    for name, pieces in extended.items():
        whole = pieces.get(-1) or b"".join(pieces[number] for number in sorted(pieces))
        plain[f"{name}*"] = _decoded(whole, charsets.get(name, "utf-8"))
    return plain


def _filename(latin1: str) -> str:
    name = _ENCODED_WORD.sub(_decode_word, _decoded(latin1.encode("latin-1"), "utf-8"))
    if name[1:3] == ":\\" or name.startswith("\\"):  # Internet Explorer sends the whole path
        return name.rpartition("\\")[2]
    return name


def _decode_word(match: re.Match[str]) -> str:
    charset, encoding, text = match.groups()
    with suppress(ValueError):
        content = text.encode("ascii")
        is_base64 = encoding in "bB"
        raw = base64.b64decode(content) if is_base64 else quopri.decodestring(content, header=True)
        return _decoded(raw, charset)
    return match[0]


def _decoded(content: bytes, charset: str) -> str:
    """Return the text of a name; where its bytes are of no charset, with marks in their place."""
    named = charset.lower().replace("_", "-")
    for one in (*({named} & _CHARSETS), "utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            return content.decode(one)
    return content.decode("utf-8", "replace")
