"""What a storm is judged by says no: to a hit that never was, and to an error without a fault."""

from __future__ import annotations

import httpx

from tests.faults.ledger import Content, Ledger, Tracked, Trouble
from tests.faults.load import send
from tests.faults.storm import AFTER_S, Window

OLD, NEW = Content("红色书包"), Content("蓝色书包")


def shown(ledger: Ledger, content: Content, begin: float, end: float) -> list[str]:
    """What is wrong with an answer that shows a product so."""
    title, price, description = content.shown
    hit = {"sku": "A", "title": title, "price": price, "description": description}
    ledger.shown([hit], begin, end)
    ledger.versions.conclude()
    return ledger.versions.wrong


def changed(told: str) -> Ledger:
    """Of a product made at 1, whose title was changed by a request that ran from 10 to 12."""
    ledger = Ledger()
    product = ledger.add(Tracked("A", {OLD}), 1.0)
    note = product.acknowledged if told == "acknowledged" else product.unanswered
    note({"title": NEW.title})
    ledger.changed(product, 10.0, 12.0)
    return ledger


def test_a_product_is_shown_as_it_was_while_the_search_ran() -> None:
    assert not shown(changed("acknowledged"), OLD, 8.0, 9.0)
    assert not shown(changed("acknowledged"), OLD, 11.0, 13.0)
    assert not shown(changed("acknowledged"), NEW, 11.0, 13.0)
    assert shown(changed("acknowledged"), NEW, 8.0, 9.0)
    assert shown(changed("acknowledged"), OLD, 13.0, 14.0)
    assert shown(changed("acknowledged"), Content("从未有过"), 11.0, 13.0)


def test_after_a_change_without_an_answer_both_may_be_shown() -> None:
    assert not shown(changed("unanswered"), OLD, 13.0, 14.0)
    assert not shown(changed("unanswered"), NEW, 13.0, 14.0)
    assert shown(changed("unanswered"), NEW, 8.0, 9.0)


def test_what_was_deleted_is_shown_no_more() -> None:
    ledger = changed("acknowledged")
    product = ledger.products["A"]
    product.acknowledged(None)
    ledger.changed(product, 20.0, 21.0)
    assert shown(ledger, NEW, 22.0, 23.0)


def test_a_write_that_is_seen_before_it_is_answered_is_no_mistake() -> None:
    ledger = Ledger()
    hit = {"sku": "A", "title": OLD.title, "price": None, "description": None}
    ledger.shown([hit], 5.0, 6.0)
    ledger.add(Tracked("A", {OLD}), 4.0)
    ledger.versions.conclude()
    assert ledger.versions.wrong == []


def test_a_window_excuses_its_kinds_of_requests_in_its_time_alone() -> None:
    window = Window("Milvus away", 100.0, 105.0 + AFTER_S, frozenset({"search"}))
    assert window.excuses(Trouble("search", "refused 503", 104.0, 106.0))
    assert not window.excuses(Trouble("search", "refused 503", 90.0, 99.0))
    assert not window.excuses(Trouble("search", "refused 503", 111.0, 112.0))
    assert not window.excuses(Trouble("write", "refused 503", 104.0, 106.0))


def test_a_request_that_is_refused_is_noted_and_one_that_fails_is_a_surprise() -> None:
    ledger = Ledger()
    busy = httpx.Response(503, json={"code": "overloaded"}, headers={"Retry-After": "1"})
    assert send(ledger, "search", lambda: busy).told == "refused"
    assert [(one.kind, one.told) for one in ledger.troubles] == [("search", "refused 503")]
    assert ledger.surprises == []
    send(ledger, "search", lambda: httpx.Response(500, json={"code": "internal_error"}))
    assert len(ledger.surprises) == 1
