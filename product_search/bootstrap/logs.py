"""What each door writes to its log, and how."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Mapping
from numbers import Number
from typing import Any, Literal

Door = Literal["service", "worker", "manage"]

_FORMATS: dict[Door, str] = {
    "service": "%(levelname)s:     %(name)s %(message)s",  # as Uvicorn's own lines
    "worker": "%(levelname)s %(name)s %(message)s",
    "manage": "%(levelname)s %(message)s",
}


# What moves the cursor, starts a line, changes the terminal or can't be seen; lone surrogates.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_NEXT_LINE = "\n    "  # no further line of a record begins as the first one does


class EscapedRecord(logging.LogRecord):
    """A record in which nothing that is told begins a line or moves the cursor: it shows escaped.

    Of that are titles, file names, headers and paths, and errors that repeat them. Whoever formats
    the record, a handler of the operator's too, gets it so.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        """Take what every record takes; write a traceback out, its lines indented."""
        super().__init__(*args, **named)
        if self.exc_info and self.exc_info[0] is not None:
            lines = "".join(traceback.format_exception(*self.exc_info))
            self.exc_text = f"    {_indented(lines)}"

    def getMessage(self) -> str:
        """Return the message, its arguments escaped; without any it may itself be what is told."""
        if not self.args:
            return _indented(str(self.msg))
        arguments = self.args
        if isinstance(arguments, Mapping):
            return str(self.msg) % {key: _shown(value) for key, value in arguments.items()}
        return str(self.msg) % tuple(_shown(value) for value in arguments)


class _Shown:
    """An argument of a record as it is written, by %s or %r."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return escaped(str(self._value))

    def __repr__(self) -> str:
        return escaped(repr(self._value))


def escaped(text: str) -> str:
    """Return the text in one line, a line's end as backslash and n, and so on."""
    return _UNSEEN.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _shown(value: object) -> object:
    return value if isinstance(value, Number) else _Shown(value)


def _indented(lines: str) -> str:
    return _NEXT_LINE.join(escaped(line) for line in lines.rstrip().split("\n"))


def configure(door: Door) -> None:
    """Log to stderr from INFO on; whoever has given the logger a handler before keeps it.

    The service's libraries stay silent below WARNING, and Uvicorn logs by itself. By hand:
    `dictConfig` closes the handlers that Uvicorn has made of the operator's `--log-config`.

    Every record of the process is escaped, those of libraries too.
    """
    logging.setLogRecordFactory(EscapedRecord)
    if door == "service":
        _drop_access_lines()
    if door == "manage":
        logging.getLogger("alembic").setLevel(logging.WARNING)
    logger = logging.getLogger("product_search" if door == "service" else None)
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMATS[door]))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _drop_access_lines() -> None:
    """Have Uvicorn not print each request: under load that is a tenth of the event loop's work.

    Answers that failed are logged by `api.metrics`, which counts all. A file, or any other handler
    that an operator's `--log-config` gives these lines, still gets them.
    """
    access = logging.getLogger("uvicorn.access")
    access.handlers = [one for one in access.handlers if type(one) is not logging.StreamHandler]
