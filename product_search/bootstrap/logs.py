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
