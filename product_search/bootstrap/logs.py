"""What each door writes to its log, and how: lines for people, or JSON for machines."""

from __future__ import annotations

import json
import logging
import math
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from numbers import Number
from typing import Any, Literal, TextIO

from structlog.processors import JSONRenderer
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

from product_search.context import current_principal, current_request_id
from product_search.settings import LogFormat

Door = Literal["service", "worker", "manage"]

_FORMATS: dict[Door, str] = {
    "service": "{level}:     {logger} {event}",  # as Uvicorn's own lines
    "worker": "{level} {logger} {event}",
    "manage": "{level} {event}",
}


# What moves the cursor, starts a line, changes the terminal or can't be seen; lone surrogates.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_NEXT_LINE = "\n    "  # no further line of a record begins as the first one does
# This service's keys, of which the public part stays; headers' credentials; passwords in URLs.
_SECRETS = re.compile(
    r"(?P<key>\bpsp?k_[a-z0-9]+_)[\w-]+"
    r"|(?P<header>\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}"
    r"|(?P<url>://[^\s/:@'\"]*:)[^\s/@'\"]+(?=@)",
    re.IGNORECASE,
)
_SECRET_NAMES = re.compile("authorization|password|secret|token|api_key|cookie", re.IGNORECASE)
_STARS = "***"


class EscapedRecord(logging.LogRecord):
    """A record in which nothing that is told begins a line or moves the cursor: it shows escaped.

    Of that are titles, file names, headers and paths, and errors that repeat them. Secrets are
    starred out. Whoever formats the record, a handler of the operator's too, gets it so.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        """Take what every record takes; write a traceback out, its lines indented."""
        super().__init__(*args, **named)
        if self.exc_info and self.exc_info[0] is not None:
            lines = "".join(traceback.format_exception(*self.exc_info))
            self.exc_text = f"    {_indented(lines)}"

    def getMessage(self) -> str:
        """Return the message, its arguments escaped; without any it may itself be what is told."""
        if isinstance(self.msg, _Written):
            return self.msg
        if not self.args:
            return _indented(str(self.msg))
        arguments = self.args
        if isinstance(arguments, Mapping):
            told = str(self.msg) % {key: _shown(value) for key, value in arguments.items()}
        else:
            told = str(self.msg) % tuple(_shown(value) for value in arguments)
        return without_secrets(told)


class _Written(str):
    """What a formatter has made of a record: nothing in it is escaped once more."""

    __slots__ = ()


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


def without_secrets(text: str) -> str:
    """Return the text with stars in place of keys, credentials and passwords."""
    return _SECRETS.sub(lambda found: found[found.lastgroup or 0] + _STARS, text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _shown(value: object) -> object:
    return value if isinstance(value, Number) else _Shown(value)


def _indented(lines: str) -> str:
    told = _NEXT_LINE.join(escaped(line) for line in lines.rstrip().split("\n"))
    return without_secrets(told)


def configure(door: Door, log_format: LogFormat = "console") -> None:
    """Log to stderr from INFO on; whoever has given the logger a handler before keeps it.

    The service's libraries stay silent below WARNING, and Uvicorn logs by itself. By hand:
    `dictConfig` closes the handlers that Uvicorn has made of the operator's `--log-config`.

    Every record of the process is escaped, those of libraries too. As JSON all of them are one
    object a line, Uvicorn's and Python's warnings among them.
    """
    logging.setLogRecordFactory(EscapedRecord)
    if door == "service":
        _drop_access_lines()
    if door == "manage":
        logging.getLogger("alembic").setLevel(logging.WARNING)
    formatter = json_formatter() if log_format == "json" else _lines(_FORMATS[door])
    if logging.lastResort is not None:  # has the warnings of loggers without a handler
        logging.lastResort.setFormatter(formatter)
    if log_format == "json":
        logging.captureWarnings(capture=True)
        _handle("py.warnings", formatter)
        for handler in _handlers_of_uvicorn():
            handler.setFormatter(formatter)
    _handle("product_search" if door == "service" else None, formatter)


def _handle(name: str | None, formatter: logging.Formatter) -> None:
    """Have the logger write by the formatter, unless it has a handler of somebody else's."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        logger.addHandler(_OurHandler())
        logger.setLevel(logging.INFO)
    for handler in logger.handlers:
        if isinstance(handler, _OurHandler):
            handler.setFormatter(formatter)


class _OurHandler(logging.StreamHandler[TextIO]):
    """A handler that was added here."""


def _drop_access_lines() -> None:
    """Have Uvicorn not print each request: under load that is a tenth of the event loop's work.

    Answers that failed are logged by `api.metrics`, which counts all. A file, or any other handler
    that an operator's `--log-config` gives these lines, still gets them.
    """
    access = logging.getLogger("uvicorn.access")
    access.handlers = [one for one in access.handlers if type(one) is not logging.StreamHandler]


def _handlers_of_uvicorn() -> Iterator[logging.Handler]:
    """Yield the handlers by which Uvicorn, or `fastapi run`, writes by itself."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        for handler in logging.getLogger(name).handlers:
            whose = type(handler.formatter).__module__.partition(".")[0]
            if whose in ("uvicorn", "fastapi_cli"):
                yield handler


def _lines(form: str) -> logging.Formatter:
    """Return the formatter of lines for people, which within a request end with its id."""

    def render(_logger: WrappedLogger, _name: str, fields: EventDict) -> str:
        record, request_id = fields["_record"], current_request_id.get()
        line = form.format(level=record.levelname, logger=record.name, event=fields["event"])
        if request_id is not None:
            line += f" [{request_id}]"
        stacks = (fields[name] for name in ("exception", "stack") if name in fields)
        return _Written("\n".join([line, *stacks]))

    return ProcessorFormatter(foreign_pre_chain=[_take_stacks], processors=[render])


def json_formatter() -> logging.Formatter:
    """Return the formatter of JSON: the same names in every line, then the record's own fields."""
    return ProcessorFormatter(
        foreign_pre_chain=[ExtraAdder(), _take_stacks],
        processors=[_name_fields, JSONRenderer(serializer=_write_json)],
    )


def _take_stacks(_logger: WrappedLogger, _name: str, fields: EventDict) -> EventDict:
    """Put the traceback and the stack, as they were escaped, into fields of their own."""
    record: logging.LogRecord = fields["_record"]
    fields.pop("exc_info", None)
    stack = fields.pop("stack_info", None)
    if record.exc_text:
        fields["exception"] = record.exc_text
    if stack:
        fields["stack"] = f"    {_indented(stack)}"
    return fields


def _name_fields(_logger: WrappedLogger, _name: str, fields: EventDict) -> EventDict:
    record: logging.LogRecord = fields.pop("_record")
    del fields["_from_structlog"]
    fields.pop("color_message", None)  # Uvicorn's event once more
    principal, request_id = current_principal.get(), current_request_id.get()
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    line = {
        "time": moment.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": fields.pop("event"),
        "request_id": request_id,
        "key": principal.name if principal.key_id is not None else None,
    }
    told = {name: value for name, value in line.items() if value is not None}
    for name in ("exception", "stack"):
        if name in fields:
            told[name] = fields.pop(name)
    return {**told, **{k: _field(k, v) for k, v in fields.items() if k not in line}}


def _field(name: str, value: object) -> object:
    """Return the value of a record's own field: a number, or text that is escaped."""
    if _SECRET_NAMES.search(name):
        return _STARS
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if value is None or is_number:
        return value
    return without_secrets(escaped(str(value)))


def _write_json(fields: EventDict, **_options: Any) -> str:
    """Return the fields as one line of JSON, in which what can't be seen is escaped."""
    text = json.dumps(fields, ensure_ascii=False)
    return _Written(_UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text))
