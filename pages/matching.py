"""The page."""

from __future__ import annotations

from product_search import demo
from product_search.demo_language import _

demo.begin_page(_("图文匹配"))
