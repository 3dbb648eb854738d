"""A database server that takes connections and says nothing: it is waited for only so long."""

from __future__ import annotations

import socket
import threading

from orm_models import Database
from product_search.database.transactions import Pool
from product_search.errors import DatabaseUnavailable

PATIENCE_S = 20.0


def test_a_server_that_says_nothing_is_given_up() -> None:
    refused: list[DatabaseUnavailable] = []

    def ask(url: str) -> None:
        try:
            Database(url, Pool(answer_s=0.2)).ping()
        except DatabaseUnavailable as error:
            refused.append(error)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql+pymysql://user@127.0.0.1:{silent.getsockname()[1]}/shop"
        asking = threading.Thread(target=ask, args=(url,), daemon=True)
        asking.start()
        asking.join(PATIENCE_S)
        assert refused
