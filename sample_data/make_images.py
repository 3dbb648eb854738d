"""Owns images/: rebuilds every sample image from the unpacked emoji package and sources.csv.

Run as ``python sample_data/make_images.py PACKAGE_DIR``, where PACKAGE_DIR is the unpacked
package @lobehub/fluent-emoji-3d. A row with an empty ``recolour`` is copied byte for byte; any
other row is recoloured in HSV with the alpha channel kept. Recolour steps, separated by spaces:

* ``hue=+120``      turn the hue by so many degrees
* ``to=355``        set the hue, so that a shaded surface becomes one colour
* ``sat=0.8``       multiply the saturation (with ``tint``: the new saturation itself)
* ``val=1.1``       multiply the brightness
* ``only=300-30``   touch only source hues from 300 degrees up to 30 degrees
* ``tint=210``      colour the grey pixels with this hue instead of turning saturated ones
"""

import argparse
import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

HERE = Path(__file__).resolve().parent
SATURATED = 0.15  # a pixel with less saturation counts as grey for hue turns
GREY = 0.30  # a pixel with less saturation may be tinted
QUALITY = 90
STEPS = frozenset({"hue", "to", "sat", "val", "only", "tint"})

Plane = npt.NDArray[np.float64]


def parse_steps(text: str) -> dict[str, str]:
    """Split ``hue=+120 sat=0.8`` into its steps, refusing unknown ones."""
    steps = dict(part.split("=", 1) for part in text.split())
    unknown = set(steps) - STEPS
    if unknown:
        raise ValueError(f"unknown recolour step: {sorted(unknown)}")
    return steps


def hue_mask(hue: Plane, only: str) -> npt.NDArray[np.bool_]:
    """Mark the pixels whose hue lies in ``LOW-HIGH``, a range that may wrap past 360."""
    low, high = (float(edge) for edge in only.split("-"))
    if low <= high:
        return (hue >= low) & (hue <= high)
    return (hue >= low) | (hue <= high)


def recolour(image: Image.Image, text: str) -> Image.Image:
    """Return the RGBA image with its recolour steps applied and its alpha unchanged."""
    steps = parse_steps(text)
    rgba = image.convert("RGBA")
    hsv = np.asarray(rgba.convert("RGB").convert("HSV"), dtype=np.float64)
    hue, sat, val = hsv[..., 0] * 360 / 255, hsv[..., 1] / 255, hsv[..., 2] / 255
    chosen = sat < GREY if "tint" in steps else sat >= SATURATED
    if "only" in steps:
        chosen &= hue_mask(hue, steps["only"])
    factor = float(steps.get("sat", "1"))
    if "tint" in steps:
        new_hue, new_sat = np.full_like(hue, float(steps["tint"])), np.full_like(sat, factor)
    elif "to" in steps:
        new_hue, new_sat = np.full_like(hue, float(steps["to"])), sat * factor
    else:
        new_hue, new_sat = (hue + float(steps.get("hue", "0"))) % 360, sat * factor
    new_val = val * float(steps.get("val", "1"))
    planes = [
        np.where(chosen, new_hue, hue) * 255 / 360,
        np.where(chosen, new_sat, sat) * 255,
        np.where(chosen, new_val, val) * 255,
    ]
    stacked = np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)
    bands = [Image.fromarray(np.ascontiguousarray(stacked[..., i])) for i in range(3)]
    result = Image.merge("HSV", bands).convert("RGB")
    result.putalpha(rgba.getchannel("A"))
    return result


def build(package: Path) -> int:
    """Write every image listed in sources.csv and return how many there are."""
    shutil.rmtree(HERE / "images", ignore_errors=True)
    (HERE / "images").mkdir()
    count = 0
    with (HERE / "sources.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            source, target = package / row["source"], HERE / row["image_path"]
            if row["recolour"]:
                with Image.open(source) as image:
                    changed = recolour(image, row["recolour"])
                changed.save(target, "WEBP", quality=QUALITY, method=6)
            else:
                shutil.copyfile(source, target)
            count += 1
    return count


def main() -> int:
    """Read the package folder from the command line and rebuild the images."""
    parser = argparse.ArgumentParser(description="Rebuild the sample pictures.")
    parser.add_argument("package", type=Path, help="unpacked @lobehub/fluent-emoji-3d folder")
    package: Path = parser.parse_args().package
    if not (package / "assets").is_dir():
        parser.error(f"no assets folder in {package}")
    count = build(package)
    sys.stdout.write(f"{count} pictures written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
