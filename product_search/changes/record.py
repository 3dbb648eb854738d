"""Records of changes: each is written in the transaction of the change that it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from data_models import ChangeOperation, SubjectKind
from orm_models import MAX_PRINCIPAL, ChangeRecord
from product_search.context import (
    Principal,
    Scope,
    current_principal,
    current_request_id,
)

_INSERT = insert(ChangeRecord)


class Subject(NamedTuple):
    """What was changed: one thing by its id, or so many of a kind."""

    kind: SubjectKind
    id: int | str | None = None
    number: int = 1


class Origin(NamedTuple):
    """Who asked for work that goes on after the request, and in which request."""

    principal: Principal
    request_id: str | None = None


def record_change(
    session: Session,
    operation: ChangeOperation,
    subject: Subject,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Record in the session's transaction what the current principal has changed.

    Args:
        session: the transaction of the change itself.
        operation: what was done.
        subject: what it was done to.
        detail: a few plain values more, for people; never a secret, and no content.
    """
    principal = current_principal.get()
    values = {
        "operation": operation,
        "principal": principal.name[:MAX_PRINCIPAL],
        "key_id": principal.key_id,
        "request_id": current_request_id.get(),
        "subject_kind": subject.kind,
        "subject_id": None if subject.id is None else str(subject.id),
        "count": subject.number,
        "detail": dict(detail or {}),
    }
    # Not by the unit of work, which costs more than the statement.
    session.connection().execute(_INSERT, values)


def find_origin(session: Session, subject: Subject) -> Origin | None:
    """Return who began what the subject is; None where no record tells of it."""
    first = (
        select(ChangeRecord.principal, ChangeRecord.key_id, ChangeRecord.request_id)
        .where(
            ChangeRecord.subject_kind == subject.kind, ChangeRecord.subject_id == str(subject.id)
        )
        .order_by(ChangeRecord.id)
        .limit(1)
    )
    found = session.execute(first).first()
    if found is None:
        return None
    # What it was let in for was checked when it asked.
    return Origin(Principal(found.principal, Scope.read, found.key_id), found.request_id)
