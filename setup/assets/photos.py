"""The example photographs: chelsea.png and coffee.png of scikit-image, enlarged.

Both are CC0: Chelsea the cat by Stefan van der Walt, the cup of espresso by Rachel Michetti. The originals are 0.2 and
0.5 MB. Enlarging alone adds no detail, so the result would compress to a fraction of what a camera's picture of that
size takes; grain as a sensor has it (always the same) brings each to about TARGET_BYTES.
"""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy
from PIL import Image

SOURCES = {"chelsea": "chelsea.png", "coffee": "coffee.png"}
WIDTH = 2050
TARGET_BYTES = 4_900_000
TOLERANCE = 0.02


def enlarge(source):
    """Returns the bytes of a PNG of scikit-image's photo `source`, WIDTH pixels wide."""
    # The package itself is not imported: that would need all its dependencies.
    folder = Path(find_spec("skimage").origin).parent / "data"
    with Image.open(folder / source) as original:
        height = round(WIDTH * original.height / original.width)
        photo = original.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    low, high = 0.0, 16.0
    for _ in range(12):
        deviation = (low + high) / 2
        data = with_grain(photo, deviation)
        if abs(len(data) / TARGET_BYTES - 1) < TOLERANCE:
            break
        low, high = (deviation, high) if len(data) < TARGET_BYTES else (low, deviation)
    return data


def with_grain(photo, deviation):
    """Returns `photo` as PNG with normal noise in its brightness, in steps of a 256th."""
    noise = numpy.random.default_rng(seed=1).normal(0, deviation, (photo.height, photo.width, 1))
    pixels = numpy.clip(numpy.asarray(photo, numpy.float32) + noise, 0, 255).round().astype(numpy.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
