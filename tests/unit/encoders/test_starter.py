"""The starter's image side: what its network is given."""

from __future__ import annotations

import numpy as np
from PIL import Image

from product_search.encoders.starter import network_pixels
from tests.unit.pictures import noise


def test_pixels_are_scaled_as_the_network_wants() -> None:
    pixels = network_pixels([Image.new("RGB", (30, 500), (127, 255, 0)), noise((40, 30), 1)])
    assert pixels.shape == (2, 3, 224, 224)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[0, :, 5, 5], [0, 1, -127 / 128])
