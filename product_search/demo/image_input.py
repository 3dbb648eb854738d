"""The image of a search: dropped, pasted or chosen, and the part of it to search by."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import streamlit as st
from PIL import Image, ImageOps, UnidentifiedImageError
from streamlit.runtime.uploaded_file_manager import UploadedFile
from streamlit_cropper import st_cropper

from product_search.demo.html import preview_html
from product_search.demo.language import _

# Any image may come: of those that it can't read, the API says so in Chinese. The endings are
# for systems that know no media type for them.
IMAGE_TYPES = ["image/*", "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"]
IMAGE_TYPES += ["heic", "heif", "jxl"]
Region = tuple[int, int, int, int]
MAX_MB = 10  # as the API takes them
_CROPPER_SIDE = 300  # pixels, narrower than a phone
_CROPPED_PIXELS = 50_000_000  # larger images can be searched with, but not cropped here
# What begins a scan of a JPEG; each goes over all pixels, and the API takes no more than a hundred.
_SCAN, _MOST_SCANS = b"\xff\xda", 100
# Streamlit's uploader takes no pasted files: they are given to its file input.
_PASTE = """<script>
window.psPaste ??= document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  const input = document.querySelector(".st-key-picture input[type=file]");
  if (!file || !input) return;
  const files = new DataTransfer();
  files.items.add(file);
  input.files = files.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}) ?? true;
</script>"""


@dataclass(frozen=True)
class ImageInput:
    """Chosen file, unchecked; it outlives the uploader, which forgets on another page."""

    name: str
    content: bytes

    @classmethod
    def of(cls, upload: UploadedFile) -> ImageInput:
        """Take what a visitor has uploaded; of a file that is too large, enough to be refused.

        The uploader's own limit holds in the browser alone.
        """
        upload.seek(0)
        return cls(upload.name, upload.read(MAX_MB * 1024 * 1024 + 1))


def query_image() -> tuple[bytes | None, Region | None]:
    """Ask for the image to search by, and the part of it that counts.

    Returns:
        The file's bytes, unchecked, and the region as x, y, width, height in pixels of the upright
        image; None for what is not chosen.
    """
    kept: ImageInput | None = st.session_state.get("picture")
    if kept is None:
        kept = _upload()
    if kept is None:
        return None, None
    region = None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(_("移除图片"), key="remove_picture", icon=":material/close:", on_click=_remove)
        is_part = st.toggle(_("只用图片的一部分"), key="is_part", persist_state="session")
    if is_part:
        region = _region_input(kept)
    else:
        st.html(preview_html(kept.content, kept.name))
    return kept.content, region


def _upload() -> ImageInput | None:
    """Ask for a file, with a new uploader for each image: a removed one must not come back."""
    number = st.session_state.get("pictures", 0)
    with st.container(key="picture"):
        upload = st.file_uploader(
            _("查询图片（可拖入、可粘贴）"),
            type=IMAGE_TYPES,
            key=f"image_{number}",
            max_upload_size=MAX_MB,
        )
    st.html(_PASTE, unsafe_allow_javascript=True)
    if upload is None:
        return None
    st.session_state["picture"] = ImageInput.of(upload)
    st.rerun()


def _remove() -> None:
    st.session_state["picture"] = None
    st.session_state["pictures"] = st.session_state.get("pictures", 0) + 1


def _region_input(image: ImageInput) -> Region | None:
    small = _small(image.content)
    if small is None:
        st.caption(_("这张图片无法在这里裁剪。"))
        return None
    thumbnail, size = small
    box = st_cropper(
        thumbnail,
        # Not all of it: its corners would be out of reach.
        default_coords=(
            thumbnail.width // 10,
            thumbnail.width * 9 // 10,
            thumbnail.height // 10,
            thumbnail.height * 9 // 10,
        ),
        box_color="#1f6f5c",
        return_type="box",
        key=f"crop_{st.session_state.get('pictures', 0)}",
        should_resize_image=False,
    )
    st.caption(_("点一下方框，再拖动它或它的边角：按框内的部分搜索。"))
    return _region(box, thumbnail.size, size)


def _region(box: dict[str, float], shown: tuple[int, int], whole: tuple[int, int]) -> Region:
    """Scale the box to the upright image's own pixels, and cut off what is outside."""
    scale = whole[0] / shown[0]
    left = min(max(0, round(box["left"] * scale)), whole[0] - 1)
    top = min(max(0, round(box["top"] * scale)), whole[1] - 1)
    right = min(round((box["left"] + box["width"]) * scale), whole[0])
    bottom = min(round((box["top"] + box["height"]) * scale), whole[1])
    return left, top, max(1, right - left), max(1, bottom - top)


@st.cache_data(max_entries=16, show_spinner=False)
def _small(content: bytes) -> tuple[Image.Image, tuple[int, int]] | None:
    """Return the upright image as small as it is shown, and its own size; None if unreadable."""
    if content.startswith(b"\xff\xd8") and content.count(_SCAN) > _MOST_SCANS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                if image.width * image.height > _CROPPED_PIXELS:
                    return None
                upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (
        OSError,
        ValueError,
        SyntaxError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ):
        return None
    size = upright.size
    upright.thumbnail((_CROPPER_SIDE, _CROPPER_SIDE))
    on_white = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(on_white, upright).convert("RGB"), size
