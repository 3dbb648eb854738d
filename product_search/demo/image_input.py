"""The image of a search: dropped, pasted or chosen, and the part of it to search by."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import streamlit as st
from PIL import Image, ImageOps, UnidentifiedImageError
from streamlit_cropper import st_cropper

from product_search.demo.html import preview_html
from product_search.demo.language import _

# Any image may come: of those that it can't read, the API says so in Chinese. The endings are
# for systems that know no media type for them.
IMAGE_TYPES = ["image/*", "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"]
Region = tuple[int, int, int, int]
MAX_MB = 10  # as the API takes them
_CROPPER_SIDE = 300  # pixels, narrower than a phone
_CROPPED_PIXELS = 50_000_000  # larger images can be searched with, but not cropped here
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
    """What was chosen, unchecked; it outlives the uploader, which forgets on another page."""

    name: str
    content: bytes


def image_input(label: str, key: str) -> bytes | None:
    """An uploader with a preview; the bytes that were chosen, unchecked."""
    upload = st.file_uploader(label, type=IMAGE_TYPES, key=key, max_upload_size=MAX_MB)
    if upload is None:
        return None
    content = upload.getvalue()
    st.html(preview_html(content, upload.name))
    return content


def query_image() -> tuple[bytes | None, Region | None]:
    """The image to search with, and the part that was chosen of it: x, y, width, height."""
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
        region = _chosen_region(kept)
    else:
        st.html(preview_html(kept.content, kept.name))
    return kept.content, region


def _upload() -> ImageInput | None:
    """A new uploader for each image: a removed one must not come back."""
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
    st.session_state["picture"] = ImageInput(upload.name, upload.getvalue())
    st.rerun()


def _remove() -> None:
    st.session_state["picture"] = None
    st.session_state["pictures"] = st.session_state.get("pictures", 0) + 1


def _chosen_region(picture: ImageInput) -> Region | None:
    small = _small(picture.content)
    if small is None:
        st.caption(_("这张图片无法在这里裁剪。"))
        return None
    shown, size = small
    box = st_cropper(
        shown,
        # Not all of it: its corners would be out of reach.
        default_coords=(
            shown.width // 10,
            shown.width * 9 // 10,
            shown.height // 10,
            shown.height * 9 // 10,
        ),
        box_color="#1f6f5c",
        return_type="box",
        key=f"crop_{st.session_state.get('pictures', 0)}",
        should_resize_image=False,
    )
    st.caption(_("点一下方框，再拖动它或它的边角：按框内的部分搜索。"))
    return _region(box, shown.size, size)


def _region(box: dict[str, float], shown: tuple[int, int], whole: tuple[int, int]) -> Region:
    """In the upright image's own pixels, whatever of the box is outside left off."""
    scale = whole[0] / shown[0]
    left = min(max(0, round(box["left"] * scale)), whole[0] - 1)
    top = min(max(0, round(box["top"] * scale)), whole[1] - 1)
    right = min(round((box["left"] + box["width"]) * scale), whole[0])
    bottom = min(round((box["top"] + box["height"]) * scale), whole[1])
    return left, top, max(1, right - left), max(1, bottom - top)


@st.cache_data(max_entries=16, show_spinner=False)
def _small(content: bytes) -> tuple[Image.Image, tuple[int, int]] | None:
    """The image upright, as small as it is shown, and its own size; None if it can't be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as picture:
                if picture.width * picture.height > _CROPPED_PIXELS:
                    return None
                upright = ImageOps.exif_transpose(picture).convert("RGBA")
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
