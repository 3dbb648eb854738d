"""Marks that tell a generated image from a photo: metadata in its file, a label in its corner."""

from __future__ import annotations

import io
from collections.abc import Mapping
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

# IPTC's term for images that a model made; C2PA manifests name it too.
_TERM = "trainedAlgorithmicMedia"
_SOURCE_TYPE = f"http://cv.iptc.org/newscodes/digitalsourcetype/{_TERM}"
XMP_KEY = "XML:com.adobe.xmp"
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>{tool}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
_TOOL = "\n   <xmp:CreatorTool>{name}</xmp:CreatorTool>"
SOFTWARE = "商品检索与图文匹配"
NOTICE = "AI 生成的图片，不是照片 / AI-generated image, not a photo"
# The names of what a file of ours says beside its mark: the last ones are the facts of `as_png`.
TEXTS = (
    *("Software", "Comment"),
    *("Model", "Prompt", "Negative prompt", "Seed", "Steps", "Guidance"),
)

# The label "AI生成" as strokes on a grid of 10 × 10: no font with Chinese is sure to be there.
_Stroke = list[tuple[float, float]]
_LABEL: tuple[tuple[float, list[_Stroke]], ...] = (  # each with its width
    (8, [[(0, 10), (3.5, 0), (7, 10)], [(1.3, 6.5), (5.7, 6.5)]]),  # A
    (4, [[(1.5, 0), (1.5, 10)]]),  # I
    (
        12,
        [  # 生
            [(3, 0), (0.8, 4.2)],
            [(2, 2.7), (9.3, 2.7)],
            [(1.7, 6.2), (8.7, 6.2)],
            [(5.4, 0), (5.4, 9.8)],
            [(0.3, 9.8), (10, 9.8)],
        ],
    ),
    (
        11,
        [  # 成
            [(1.6, 2.4), (9.6, 2.4)],
            [(1.6, 2.4), (1.6, 6), (0.2, 10)],
            [(1.6, 5.2), (4.6, 5.2), (4.4, 8.2), (3.2, 8.4)],
            [(5.9, 0), (6.3, 4.5), (7.8, 8.2), (9.4, 9.9), (9.8, 8)],
            [(9, 4), (7.4, 7.2), (4.8, 9.9)],
            [(7.6, 0.2), (8.9, 1.4)],
        ],
    ),
)


def as_png(image: Image.Image, facts: Mapping[str, str]) -> bytes:
    """Write the image as a PNG whose metadata says how it was made.

    The same image and facts give the same bytes. Facts have names of TEXTS.
    """
    info = PngInfo()
    texts = {"Software": SOFTWARE, "Comment": NOTICE, **facts}
    for name, value in texts.items():
        info.add_itxt(name, value)
    info.add_itxt(XMP_KEY, own_packet().decode())
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def own_packet() -> bytes:
    """Return the XMP packet of a picture that this project made."""
    return _XMP.format(source=_SOURCE_TYPE, tool=_TOOL.format(name=escape(SOFTWARE))).encode()


def mark() -> bytes:
    """Return an XMP packet that says that a model made a picture, whoever's."""
    return _XMP.format(source=_SOURCE_TYPE, tool="").encode()


def says_generated(content: bytes) -> bool:
    """Tell whether an image's file, ours or another's, says that a model made the image.

    XMP and C2PA hold the term uncompressed, in every image format.
    """
    return _TERM.encode() in content


def labelled(image: Image.Image) -> Image.Image:
    """Return a copy with "AI生成" in its lower right corner."""
    height = max(12, min(image.size) // 24)
    unit, margin = height / 10, height / 2
    width = unit * sum(advance for advance, _ in _LABEL)
    left, top = image.width - width - 2 * margin, image.height - height - 2 * margin
    canvas = image.convert("RGBA")
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    draw.rectangle([left, top, image.width, image.height], fill=(0, 0, 0, 150))
    x = left + margin
    for advance, strokes in _LABEL:
        for stroke in strokes:
            points = [(x + unit * column, top + margin + unit * row) for column, row in stroke]
            draw.line(points, fill=(255, 255, 255, 255), width=max(1, round(unit)), joint="curve")
        x += unit * advance
    return Image.alpha_composite(canvas, layer).convert("RGB")
