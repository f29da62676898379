"""Makes the input of Figure 15: one of set-up's photos, enlarged, as a bitmap of 10 MB.

    python3 bench/bitmap.py PHOTO BITMAP

It is not packed, so that reading it takes about 7 ms: an unpacker's time would be the same in both arms. Needs pillow.
"""

import os
import sys

from PIL import Image

# Of 3 bytes a pixel, and as high as the photo is.
WIDTH = 2238


def main(photo, bitmap):
    with Image.open(photo) as original:
        height = round(WIDTH * original.height / original.width)
        enlarged = original.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    unfinished = f"{bitmap}.{os.getpid()}"
    enlarged.save(unfinished, "BMP")
    os.replace(unfinished, bitmap)


if __name__ == "__main__":
    main(*sys.argv[1:])
