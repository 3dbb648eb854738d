"""The statuses of the error family, and how errors are documented."""

from __future__ import annotations

import json

import pytest

from product_search.api.errors import documented
from product_search.errors import AppError, GenerationModelMissing, OutcomeUnknown

KINDS = list(AppError.kinds())


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_status_and_an_example_of_its_own(kind: type[AppError]) -> None:
    assert {"code", "status", "example"} <= set(vars(kind))
    assert 400 <= kind.status < 600


def test_no_error_of_the_family_is_a_500() -> None:
    assert 500 not in {kind.status for kind in KINDS}


def test_only_what_may_be_sent_again_says_when() -> None:
    later = {kind for kind in KINDS if kind.status in (429, 503)}
    first_look, first_download = OutcomeUnknown, GenerationModelMissing
    never = {first_look, first_download}
    assert {kind for kind in KINDS if kind.retry_after_s} == later - never


def test_errors_of_one_status_are_documented_together() -> None:
    kinds = sorted(KINDS, key=lambda kind: kind.code)
    responses = documented(*kinds)
    assert set(responses) == {kind.status for kind in kinds}
    for kind in kinds:
        entry = responses[kind.status]
        example = entry["content"]["application/json"]["examples"][kind.code]
        assert example["value"]["code"] == kind.code
        assert kind.code in entry["description"]
    assert json.dumps({str(status): "model" in entry for status, entry in responses.items()})
