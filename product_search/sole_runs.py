"""Runs of which there is one of a kind at a time: all go over the whole catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy.orm import Session

from orm_models import Database, Run
from product_search import runs
from product_search.engine import LockPurpose
from product_search.errors import RunInProgress
from product_search.runs import UNFINISHED, Claimed, Kind

Sole = Literal[Kind.doctor, Kind.duplicates, Kind.audit, Kind.map]
_NAMES: dict[Sole, str] = {
    Kind.doctor: "核对",
    Kind.duplicates: "查重",
    Kind.audit: "图文核查",
    Kind.map: "目录图",
}
_PURPOSES: dict[Sole, LockPurpose] = {
    Kind.doctor: "doctor",
    Kind.duplicates: "duplicates",
    Kind.audit: "audit",
    Kind.map: "map",
}


def queue(database: Database, kind: Sole, options: Mapping[str, Any]) -> Run:
    """A run that waits for the service's loop. Raises RunInProgress where one has not ended."""

    def add(session: Session) -> Run:
        _check_none(session, kind)
        return runs.queue(session, kind, options)

    with database.alone(_PURPOSES[kind]):
        return database.write(add)


def begin(database: Database, kind: Sole, options: Mapping[str, Any], lease: timedelta) -> Claimed:
    """A run that this process carries out; one that nobody holds is cancelled for it.

    Raises RunInProgress where another process holds one.
    """

    def add(session: Session) -> Claimed:
        while left := runs.claim(session, [kind], lease):
            runs.cancel(session, left.id)
        _check_none(session, kind)
        run = runs.queue(session, kind, options)
        claimed = runs.claim(session, [kind], lease, run_id=run.id)
        assert claimed is not None  # nobody else sees it before the commit
        return claimed

    with database.alone(_PURPOSES[kind]):
        return database.write(add)


def _check_none(session: Session, kind: Sole) -> None:
    unfinished = runs.latest(session, kind, *UNFINISHED)
    if unfinished is not None:
        raise RunInProgress(f"已有一次{_NAMES[kind]}尚未结束（编号 {unfinished.id}），请等它结束")
