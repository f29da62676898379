"""Makes what the SeBS class functions read (apps/sebs-*), the same on each machine: `inputs.py --out FOLDER NAME…`.

FOLDER gets bucket/key files, as headstart-store serves them. `--small` makes little ones for tests. It needs pillow
(thumbnailer, image-recognition), ffmpeg (video-processing), torch and torchvision (image-recognition).
"""

import argparse
import io
import json
import os
import random
import subprocess
from pathlib import Path

SEED = 20260301
BUCKET = "sebs"
MIB = 1 << 20


def thumbnailer(small):
    """A photo of some megabytes."""
    return {"thumbnailer/input/photo.jpeg": photo(640, 480) if small else photo(3000, 2000)}


def video_processing(small):
    """A clip of some megabytes: moving patterns with grain, which does not compress away."""
    seconds, size = (1, "320x180") if small else (6, "1280x720")
    source = f"testsrc2=size={size}:rate=25:duration={seconds},noise=alls=12:all_seed={SEED}"
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source, "-threads", "1"]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "6M", "-pix_fmt", "yuv420p", "-flags", "+bitexact"]
    command += ["-fflags", "+bitexact", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-"]
    return {"video/input/clip.mp4": subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout}


def image_recognition(small):
    """A photo, and weights of a ResNet-50 (98 MB), drawn at random: all is as with trained ones but the answer."""
    import torch
    from torchvision.models import resnet50

    torch.manual_seed(SEED)
    weights = io.BytesIO()
    torch.save(resnet50().state_dict(), weights)
    return {
        "recognition/input/photo.jpeg": photo(640, 480) if small else photo(2000, 1500),
        "recognition/model/resnet50.pth": weights.getvalue(),
    }


def dna_visualisation(small):
    """A sequence of bases in lines of 70, as FASTA files have them."""
    count = 20_000 if small else 2_000_000
    bases = "".join(random.Random(SEED).choices("ACGT", k=count))
    lines = [">made for tests", *(bases[at : at + 70] for at in range(0, count, 70)), ""]
    return {"dna/input/bacterium.fasta": "\n".join(lines).encode()}


def compression(small):
    """A folder of ten files: text, which packs well, and bytes, which do not."""
    draw = random.Random(SEED)
    each = 20_000 if small else 3 * MIB
    words = [bytes(draw.choices(b"abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 10))) for _ in range(5000)]
    files = {}
    for number in range(10):
        if number % 2:
            files[f"part {number // 5}/bytes-{number}.bin"] = draw.randbytes(each)
        else:
            files[f"part {number // 5}/text-{number}.txt"] = b" ".join(draw.choices(words, k=each // 7))[:each]
    return {f"compression/input/documents/{name}": data for name, data in files.items()}


def crud(small):
    """A cart with some products, as the table of the storage library keeps them."""
    items = {}
    for number in range(1, 4 if small else 11):
        item = {"cart_id": "c1", "product_id": f"p{number}", "name": f"thing {number}", "price": number, "quantity": 2}
        items[f"crud/shopping_cart/c1/p{number}.json"] = json.dumps(item).encode()
    return items


def uploader(small):
    """A file that a web server has."""
    return {"uploader/web/archive.tar.gz": random.Random(SEED).randbytes(MIB if small else 12 * MIB)}


def photo(width, height):
    """A JPEG with soft shapes and a sensor's grain."""
    from PIL import Image

    draw = random.Random(SEED)
    shapes = Image.frombytes("RGB", (24, 16), draw.randbytes(24 * 16 * 3)).resize((width, height), Image.BICUBIC)
    grain = Image.frombytes("L", (width, height), draw.randbytes(width * height)).convert("RGB")
    out = io.BytesIO()
    Image.blend(shapes, grain, 0.15).save(out, format="jpeg", quality=90)
    return out.getvalue()


MAKERS = {
    "thumbnailer": thumbnailer,
    "video-processing": video_processing,
    "image-recognition": image_recognition,
    "dna-visualisation": dna_visualisation,
    "compression": compression,
    "crud": crud,
    "uploader": uploader,
}


def write(path, data):
    """So that a reader sees all of the file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}.{os.getpid()}")
    making.write_bytes(data)
    making.replace(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("names", nargs="+", choices=MAKERS)
    options = parser.parse_args()
    for name in options.names:
        for key, data in MAKERS[name](options.small).items():
            write(options.out / BUCKET / key, data)
            print(f"{name}: {BUCKET}/{key}, {len(data)} bytes")


if __name__ == "__main__":
    main()
