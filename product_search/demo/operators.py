"""Operators: visitors who have signed in with a key of their own, and what whoever is here may do.

Everybody else reads with the page's own key (`api_key` of the settings). A key is held by the
client of its session, in this process alone; what one may read is kept apart from what others may.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from weakref import finalize

import streamlit as st

from data_models import Caller, Scope
from product_search.client import ApiClient

# What more than reading is needed for, by the names of the client's methods; a test compares it
# with the API's own table.
NEEDED = {
    "create_product": Scope.write,
    "update_product": Scope.write,
    "delete_product": Scope.write,
    "start_import": Scope.write,
    "cancel_import": Scope.write,
    "generate": Scope.write,
    "cancel_generation": Scope.write,
    "find_duplicates": Scope.write,
    "start_audit": Scope.write,
    "check_drift": Scope.admin,
    "repair_drift": Scope.admin,
}
_OPERATOR, _CALLER = "operator", "caller"


@dataclass(frozen=True)
class Operator:
    """Visitor who has signed in: who they are to the API, and the client that has their key."""

    caller: Caller
    client: ApiClient
    number: str = field(default_factory=secrets.token_hex)  # of this sign-in, never used again

    def __post_init__(self) -> None:
        """Have the client closed at the latest when the session is gone."""
        finalize(self, self.client.close)


def current_operator() -> Operator | None:
    """Return the operator of this session, if somebody has signed in."""
    operator: Operator | None = st.session_state.get(_OPERATOR)
    return operator


def current_caller() -> Caller | None:
    """Return who the API takes this session's requests for; None where it has not told."""
    caller: Caller | None = st.session_state.get(_CALLER)
    return caller


def enter(operator: Operator) -> None:
    """Take the operator into this session."""
    leave()
    st.session_state[_OPERATOR] = operator
    note_caller(operator.caller)


def leave() -> None:
    """Forget the operator of this session, and their key: their client sends nothing any more."""
    operator: Operator | None = st.session_state.pop(_OPERATOR, None)
    if operator is not None:
        operator.client.close()
    note_caller(None)


def note_caller(caller: Caller | None) -> None:
    """Remember who the API takes this session's requests for; None where it takes none of them."""
    st.session_state[_CALLER] = caller


def may(operation: str) -> bool:
    """Tell whether this session's requests for the operation are let in, as far as is known."""
    caller = current_caller()
    return caller is None or caller.scope.includes(NEEDED[operation])


def whose(client: ApiClient) -> str:
    """Return what tells this session's answers from others' in a cache that all sessions share.

    All who read with the page's own key share theirs; an operator shares with nobody.
    """
    operator = current_operator()
    return client.base_url if operator is None else f"{client.base_url} {operator.number}"
