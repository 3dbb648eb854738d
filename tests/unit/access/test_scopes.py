"""What a scope holds, and what a publishable key is good for."""

from __future__ import annotations

import pytest

from product_search.access.errors import Forbidden
from product_search.access.scopes import PUBLISHABLE, SCOPES, SIGNED, needed_scope, require_scope
from product_search.context import Principal, Scope

SHOP = "https://shop.example"


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_may_do_what_is_its_own_and_what_is_less(scope: Scope) -> None:
    holder = Principal("shop", scope)
    for operation, needed in SCOPES.items():
        if needed is None or scope.includes(needed):
            require_scope(holder, operation, None)
        else:
            with pytest.raises(Forbidden, match=needed):
                require_scope(holder, operation, None)


def test_what_the_table_does_not_name_is_for_admins_and_no_address_for_readers() -> None:
    assert needed_scope("something_new") is Scope.admin
    assert needed_scope("") is Scope.admin
    assert needed_scope(None) is Scope.read


def test_what_pages_may_do_only_reads() -> None:
    assert {SCOPES[name] for name in PUBLISHABLE | SIGNED} == {Scope.read}


@pytest.mark.parametrize("operation", [*SCOPES, "something_new", None])
def test_a_publishable_key_is_good_for_its_pages_and_little_else(operation: str | None) -> None:
    page = Principal("page", Scope.read, "a", (SHOP,))
    if operation in PUBLISHABLE:
        require_scope(page, operation, SHOP)
        for origin in (None, "null", "https://shop.example.evil", "http://shop.example"):
            with pytest.raises(Forbidden, match=SHOP):
                require_scope(page, operation, origin)
    else:
        with pytest.raises(Forbidden):
            require_scope(page, operation, SHOP)
