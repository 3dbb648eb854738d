"""What the pages do with visitors' uploads, and how Streamlit is set up for many visitors."""

from __future__ import annotations

import pytest
from streamlit import config
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec

from product_search.demo.image_input import ImageInput
from product_search.images.formats import MAX_BYTES


@pytest.mark.parametrize("size", [0, 10, MAX_BYTES, MAX_BYTES + 1, MAX_BYTES + 1000])
def test_no_more_is_kept_of_an_image_than_the_api_needs_to_refuse_it(size: int) -> None:
    upload = UploadedFile(UploadedFileRec("1", "a.png", "image/png", bytes(size)), FileURLs())
    for _ in range(2):  # each run of a page takes it anew
        assert len(ImageInput.of(upload).content) == min(size, MAX_BYTES + 1)


def test_no_file_is_watched_from_the_thread_that_serves_all_visitors() -> None:
    assert config.get_option("server.fileWatcherType") == "none"


def test_tables_have_no_download_of_their_own_which_would_hold_formulas() -> None:
    assert config.get_option("client.disableDataExport") is True
