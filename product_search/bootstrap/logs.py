"""What each door writes to its log, and how."""

from __future__ import annotations

import logging
import logging.config
from typing import Literal

Door = Literal["service", "worker", "manage"]

_FORMATS: dict[Door, str] = {
    "service": "%(levelname)s:     %(name)s %(message)s",  # as Uvicorn's own lines
    "worker": "%(levelname)s %(name)s %(message)s",
    "manage": "%(levelname)s %(message)s",
}


def configure(door: Door) -> None:
    """Log to stderr from INFO on; whoever has given the logger a handler before keeps it.

    The service's libraries stay silent below WARNING, and Uvicorn logs by itself.
    """
    top = "product_search" if door == "service" else ""
    if logging.getLogger(top).handlers:
        return
    loggers: dict[str, dict[str, object]] = {top: {"handlers": ["stderr"], "level": "INFO"}}
    if door == "manage":
        loggers["alembic"] = {"level": "WARNING"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": _FORMATS[door]}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "loggers": loggers,
        }
    )
