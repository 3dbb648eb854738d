"""Downloads of model snapshots from ModelScope; a folder appears only once it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from product_search.encoders.checkpoints import has_weights
from product_search.errors import EncoderError

# Files of a snapshot that other frameworks read.
_NOT_NEEDED = ["*.msgpack", "*.h5", "*.onnx", "*.ot", "*.pt", "*.md", "examples/*"]


def download_model(
    model_id: str,
    revision: str,
    target: Path,
    *,
    files: Sequence[str] | None = None,
    is_whole: Callable[[Path], bool] = has_weights,
) -> None:
    """Fetch a ModelScope snapshot into `target`, which appears only once it is whole.

    `files` are patterns of what is fetched; by default all that is not for other frameworks.
    A target that holds this revision already is left alone. Progress bars are ModelScope's own;
    an interrupted download is resumed by the next call.

    Raises:
        EncoderError: the hub can't be reached, or has no such id, revision or weights.
    """
    from modelscope import snapshot_download  # takes seconds to import
    from modelscope.hub.errors import HubError

    marker = target / "REVISION"
    is_there = marker.is_file() and marker.read_text() == f"{model_id} {revision}"
    if is_there and is_whole(target):
        return
    partial = target.with_name(target.name + ".partial")
    which = {"allow_patterns": list(files)} if files else {"ignore_patterns": _NOT_NEEDED}
    try:
        snapshot_download(model_id, revision=revision, local_dir=str(partial), **which)
    except (HubError, OSError) as error:
        raise EncoderError(f"无法下载 {model_id}（{revision}）：{error}") from error
    if not is_whole(partial):
        raise EncoderError(f"{model_id} 的快照里没有可用的权重：{partial}")
    if target.exists():
        shutil.rmtree(target)
    (partial / marker.name).write_text(f"{model_id} {revision}")
    partial.rename(target)
