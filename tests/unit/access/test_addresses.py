"""Signed addresses: stable for hours, then over, and nobody else's to make."""

from __future__ import annotations

import time
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from product_search.access import addresses
from product_search.access.addresses import LONGEST, OPEN, SignedAddresses

NEW, OLD = bytes(32), bytes([1]) * 32
PATH = "/product/7/image"
HOUR = 3600.0


def signature(address: str) -> str:
    return parse_qs(urlsplit(address).query)["signature"][0]


@pytest.fixture
def signer() -> SignedAddresses:
    return SignedAddresses(lambda: [NEW, OLD])


def at(moment: float, patched: pytest.MonkeyPatch) -> None:
    patched.setattr(addresses, "time", SimpleNamespace(time=lambda: moment))


def test_an_address_is_good_for_its_path_alone(signer: SignedAddresses) -> None:
    address = signer.of(PATH)
    assert address.startswith(f"{PATH}?")
    signed = signature(address)
    assert signer.is_signed(PATH, signed)
    for other in ("/product/8/image", "/product/7/image/", "/product/07/image", "/generate/7"):
        assert not signer.is_signed(other, signed)


def test_no_character_of_a_signature_may_be_another(signer: SignedAddresses) -> None:
    signed = signature(signer.of(PATH))
    for place, character in enumerate(signed):
        changed = signed[:place] + ("1" if character != "1" else "2") + signed[place + 1 :]
        assert not signer.is_signed(PATH, changed), changed
    for wrong in ("", "-", signed[:-1], f"{signed}A", f" {signed}", f"9{signed}", f"{signed}\n"):
        assert not signer.is_signed(PATH, wrong), wrong


def test_an_address_stays_the_same_for_hours_and_ends(
    signer: SignedAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = 100 * LONGEST.total_seconds()
    at(begin, monkeypatch)
    address = signer.of(PATH)
    at(begin + 5.9 * HOUR, monkeypatch)
    assert signer.of(PATH) == address
    at(begin + 11.9 * HOUR, monkeypatch)
    assert signer.of(PATH) != address
    assert signer.is_signed(PATH, signature(address))
    at(begin + 12 * HOUR, monkeypatch)
    assert not signer.is_signed(PATH, signature(address))


def test_an_address_is_good_for_six_hours_at_least(signer: SignedAddresses) -> None:
    end, _, _ = signature(signer.of(PATH)).partition("-")
    assert 6 * HOUR < int(end) - time.time() <= LONGEST.total_seconds()


def test_what_an_older_secret_has_signed_is_good_while_that_is_kept(
    signer: SignedAddresses,
) -> None:
    signed = signature(SignedAddresses(lambda: [OLD]).of(PATH))
    assert signer.is_signed(PATH, signed)
    assert not SignedAddresses(lambda: [NEW]).is_signed(PATH, signed)
    assert signature(signer.of(PATH)) == signature(SignedAddresses(lambda: [NEW]).of(PATH))


def test_without_keys_an_address_is_the_path() -> None:
    assert OPEN.of(PATH) == PATH
