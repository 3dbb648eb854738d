"""From a request as it was sent to what is searched: words that are more than words are taken out.

Price words narrow the filters, and what a text says not to want is parted from what it wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from data_models import (
    Interpretation,
    InterpretedKind,
    Meaning,
    PriceBounds,
    PriceRange,
    QueryPart,
    SearchMode,
    SearchRequest,
)
from product_search.text.negation import wish, without_quotes
from product_search.text.understanding import find_prices, without_words

_ANYTHING = "商品"


@dataclass(frozen=True)
class Understood:
    """A request as it is searched, and how its words were understood.

    `unwanted` are the texts that the request's text says not to want, `quoted` those that must
    stand in a product word by word.
    """

    request: SearchRequest
    unwanted: Sequence[str] = ()
    quoted: Sequence[str] = ()
    interpreted: Sequence[Interpretation] = ()

    def with_text(self, text: str | None, found: Sequence[Interpretation]) -> Understood:
        """Return the request with what is left of its text, and what was found in it."""
        request = self.request.model_copy(update={"text": text})
        return replace(self, request=request, interpreted=[*self.interpreted, *found])

    @property
    def warnings(self) -> list[str]:
        """What the client should know: that words leave no product which the filters let pass."""
        return [
            f"“{one.text}”与 filters 的价格（或前面的词）矛盾，没有商品能同时符合：请改其一，"
            "或用 understand 不把它当作价格"
            for one in self.interpreted
            if one.contradicts
        ]


def understand(request: SearchRequest) -> Understood:
    """Return the request without the words that are filters, which its filters then have.

    Only a hybrid search's texts are understood, of its parts those of positive weight.
    """
    if request.chosen_mode is not SearchMode.hybrid:
        return Understood(request)
    understood = Understood(request)
    if request.understand.price:
        understood = _understand_prices(request)
    if request.understand.phrase:
        understood = _hold_together(understood)
    text = understood.request.text
    return _part_negations(understood, text) if text and request.understand.negation else understood


def _understand_prices(request: SearchRequest) -> Understood:
    text, prices = _without_prices(request.text)
    parts: list[QueryPart] = []
    for part in request.parts or ():
        rest, found = _without_prices(part.text if part.weight > 0 else None)
        prices += found
        if not found:
            parts.append(part)
        elif rest:
            parts.append(part.model_copy(update={"text": rest}))
    if not prices:
        return Understood(request)
    bounds, interpreted = _narrow(request.filters.price, prices)
    changed = {
        "mode": SearchMode.hybrid,  # as it was: without its text it might be another
        "text": text,
        "parts": parts or None,
        "filters": request.filters.model_copy(update={"price": bounds}),
    }
    return Understood(request.model_copy(update=changed), interpreted=interpreted)


def _without_prices(text: str | None) -> tuple[str | None, list[Interpretation]]:
    """Return what is left to search for, None where nothing is, and the prices that it says."""
    words = find_prices(text) if text else []
    if not text or not words:
        return text, []
    prices = [
        Interpretation(
            kind=InterpretedKind.price,
            text=text[one.start : one.end].strip(),
            meaning=Meaning(price=PriceBounds(gte=one.gte, lte=one.lte)),
        )
        for one in words
    ]
    return without_words(text, words) or None, prices


def _narrow(
    given: PriceRange | None, prices: Iterable[Interpretation]
) -> tuple[PriceRange | None, list[Interpretation]]:
    """Return the prices that all allow; what allows none of those before it contradicts them."""
    low, high = (given.gte, given.lte) if given else (None, None)
    interpreted: list[Interpretation] = []
    for one in prices:
        said = one.meaning.price or PriceBounds()
        lower = max((end for end in (low, said.gte) if end is not None), default=None)
        upper = min((end for end in (high, said.lte) if end is not None), default=None)
        contradicts = lower is not None and upper is not None and lower > upper
        interpreted.append(one.model_copy(update={"contradicts": contradicts}))
        if not contradicts:
            low, high = lower, upper
    bounds = given if low is None and high is None else PriceRange(gte=low, lte=high)
    return bounds, interpreted


def _hold_together(understood: Understood) -> Understood:
    text, quoted = without_quotes(understood.request.text or "")
    if not quoted or not text:
        return understood
    phrases = [
        Interpretation(kind=InterpretedKind.phrase, text=one, meaning=Meaning(together=one))
        for one in quoted
    ]
    return replace(understood.with_text(text, phrases), quoted=quoted)


def _part_negations(understood: Understood, text: str) -> Understood:
    wanted, unwanted = wish(text)
    if not unwanted and understood.interpreted:
        # Beside a price a text may say only what is not wanted: of all that costs so much.
        wanted, unwanted = wish(f"{_ANYTHING} {text}")
        wanted = wanted.removeprefix(_ANYTHING).strip()
    if not unwanted:
        return understood
    negations = [
        Interpretation(kind=InterpretedKind.negation, text=one, meaning=Meaning(without=one))
        for one in unwanted
    ]
    return replace(understood.with_text(wanted or None, negations), unwanted=unwanted)
