"""Says what is in a photo, from a snapshot: what is done here once, all instances go on from (docs/snapshots.md).

The event is {"key": "chelsea.bmp", "output": URL}: the photo in s3://inputs, and where its class of ImageNet is stored, by a
PUT that the URL gives leave to. Without "output" it is the answer only.
"""

import io
import json

import numpy
import onnxruntime
from PIL import Image

import storage

SIZE = 224
BORDER = 32

Image.preinit()


def load(model):
    """The model was optimised when it was made, so not again here. One thread: more do not pay for one photo."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(bytes(model), options, providers=["CPUExecutionProvider"])


def recognise(photo):
    (scores,) = SESSION.run(["probabilities"], {"image": photo})
    best = numpy.argsort(scores[0])[::-1][:5]
    return [{"label": CLASSES[index], "score": round(float(scores[0][index]), 4)} for index in best]


# The bridge fetches the model for the snapshot, under the function's own rules.
SESSION = load(storage.download("models", "efficientnet-lite0.onnx"))
CLASSES = SESSION.get_modelmeta().custom_metadata_map["classes"].split("\n")
# What the network does at its first photo, it has done.
recognise(numpy.zeros((1, 3, SIZE, SIZE), numpy.float32))


def handler(event):
    photo = storage.download("inputs", event["key"])
    mark("bytes ready")
    image = prepare(photo)
    mark("inference begins")
    top5 = recognise(image)
    mark("inference ends")
    result = {**top5[0], "top5": top5}
    if event.get("output"):
        storage.upload_url(event["output"], json.dumps(result).encode())
        mark("result stored")
    return result


def setup_only(event):
    """All that comes before the first download, and nothing after it: for measuring."""
    mark("inference begins")
    return {"label": None}


def prepare(photo):
    """The middle of the photo, as the network was trained to see it: 1×3×224×224, brightness around 0."""
    with Image.open(io.BytesIO(photo)) as image:
        image.draft("RGB", (2 * SIZE, 2 * SIZE))
        side = min(image.size) * SIZE / (SIZE + BORDER)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        # To convert is to copy.
        colours = image if image.mode == "RGB" else image.convert("RGB")
        small = colours.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    pixels = (numpy.asarray(small, numpy.float32) - 127) / 128
    return numpy.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def mark(name):
    print(f"mark: {name}", flush=True)
