"""A route that does nothing but take a query and give an answer that is there already.

BARE_ANSWERS=FOLDER uvicorn benchmarks.rig.bare:app   (a file MODE.json in it for each mode)
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Response
from pydantic import BaseModel

ANSWERS = {path.stem: path.read_bytes() for path in Path(os.environ["BARE_ANSWERS"]).glob("*.json")}
app = FastAPI()


class Query(BaseModel):
    """A query."""

    mode: str
    text: str = ""
    image_base64: str = ""


@app.post("/search")
async def search(query: Query) -> Response:
    """Give the answer of the query's mode."""
    return Response(ANSWERS[query.mode], media_type="application/json")
