"""The one status table, and how errors are documented."""

from __future__ import annotations

import json

import pytest

from product_search.api.errors import STATUS, documented
from product_search.errors import AppError, GenerationModelMissing, OutcomeUnknown
from tests.unit.test_errors import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_status(kind: type[AppError]) -> None:
    assert kind in STATUS
    assert 400 <= STATUS[kind] < 600


def test_the_table_holds_nothing_else() -> None:
    assert set(STATUS) == set(KINDS)


def test_no_error_of_the_family_is_a_500() -> None:
    assert 500 not in STATUS.values()


def test_only_what_may_be_sent_again_says_when() -> None:
    later = {kind for kind, status in STATUS.items() if status in (429, 503)}
    first_look, first_download = OutcomeUnknown, GenerationModelMissing
    never = {first_look, first_download}
    assert {kind for kind in KINDS if kind.retry_after_s} == later - never


def test_errors_of_one_status_are_documented_together() -> None:
    kinds = sorted(STATUS, key=lambda kind: kind.code)
    responses = documented(*kinds)
    assert set(responses) == set(STATUS.values())
    for kind in kinds:
        entry = responses[STATUS[kind]]
        example = entry["content"]["application/json"]["examples"][kind.code]
        assert example["value"]["code"] == kind.code
        assert kind.code in entry["description"]
    assert json.dumps({str(status): "model" in entry for status, entry in responses.items()})
