"""Odd numbers of each kind of query tune, even ones are only reported."""

from __future__ import annotations

from typing import Literal

from product_search.errors import StartError

Half = Literal["tuning", "reported"]
HALVES: tuple[Half, ...] = ("tuning", "reported")


def half_of(qid: str) -> Half:
    """The half of a query id like plain-07. Raises StartError where it has no number."""
    number = qid.rpartition("-")[2]
    if not number.isdecimal():
        raise StartError(f"{qid} 没有编号，分不出两半")
    return "tuning" if int(number) % 2 else "reported"


def kind_of(qid: str) -> str:
    """The kind of a query id."""
    return qid.rpartition("-")[0]
