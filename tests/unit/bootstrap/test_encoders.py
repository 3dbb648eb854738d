"""Encoders found again by their fingerprint, wherever their weights are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from product_search.bootstrap.encoders import EncoderLoader
from product_search.errors import EncoderError
from product_search.settings import Settings
from tests.unit.checkpoints import write_bge, write_clip


def test_encoders_are_found_behind_others_that_were_put_before_them(tmp_path: Path) -> None:
    clip, old, new = write_clip(tmp_path / "clip"), write_bge(tmp_path / "old", 1), tmp_path / "new"
    settings = Settings(
        _env_file=None, data_dir=tmp_path, encoder="auto", clip_dir=clip, bge_dir=old, device="cpu"
    )
    former = EncoderLoader(settings).load_chosen()
    assert former.name == "chinese-clip"
    folders = EncoderLoader(settings.model_copy(update={"bge_dir": write_bge(new, 2)}))
    assert folders.load_chosen().fingerprint != former.fingerprint
    for name in (None, "chinese-clip"):
        with pytest.raises(EncoderError, match=former.fingerprint):
            folders.load_matching(name, former.fingerprint)
    shutil.copytree(old, settings.downloaded_bge)
    for name in (None, "chinese-clip"):
        assert folders.load_matching(name, former.fingerprint).fingerprint == former.fingerprint
    with pytest.raises(EncoderError, match="starter"):
        folders.load_matching("nobody", former.fingerprint)
