"""What each door writes to its log, and how."""

from __future__ import annotations

import logging
from typing import Literal

Door = Literal["service", "worker", "manage"]

_FORMATS: dict[Door, str] = {
    "service": "%(levelname)s:     %(name)s %(message)s",  # as Uvicorn's own lines
    "worker": "%(levelname)s %(name)s %(message)s",
    "manage": "%(levelname)s %(message)s",
}


def configure(door: Door) -> None:
    """Log to stderr from INFO on; whoever has given the logger a handler before keeps it.

    The service's libraries stay silent below WARNING, and Uvicorn logs by itself. By hand:
    `dictConfig` closes the handlers that Uvicorn has made of the operator's `--log-config`.
    """
    if door == "manage":
        logging.getLogger("alembic").setLevel(logging.WARNING)
    logger = logging.getLogger("product_search" if door == "service" else None)
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMATS[door]))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
