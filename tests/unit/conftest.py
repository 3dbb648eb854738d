"""Generated cases have no deadline: on a busy machine time says nothing."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
