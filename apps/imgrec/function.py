"""Says what is in a photo: an ordinary function, which knows nothing of headstart.

The event names the photo: {"bucket": "inputs", "key": "chelsea.png"}. The answer is its class of ImageNet.
"""

import io

import numpy
import onnxruntime
from PIL import Image

import storage

MODEL = ("models", "efficientnet-lite0.onnx")
SIZE = 224
BORDER = 32

# Pillow would load its decoders at the first photo.
Image.preinit()

_session = None


def handler(event):
    photo = storage.download(event.get("bucket", "inputs"), event["key"])
    model = b"" if _session else storage.download(*MODEL)
    mark("bytes ready")
    return classify(model, photo)


def setup_only(event):
    """All that comes before the first download, and nothing after it: for measuring."""
    mark("inference begins")
    return {"label": None}


def classify(model, photo):
    """Returns {"label", "score", "top5"} of the photo, whose bytes are in any format that pillow reads."""
    global _session
    image = prepare(photo)
    if _session is None:
        _session = load(model)
    mark("inference begins")
    (scores,) = _session.run(["probabilities"], {"image": image})
    mark("inference ends")
    names = _session.get_modelmeta().custom_metadata_map["classes"].split("\n")
    best = numpy.argsort(scores[0])[::-1][:5]
    top5 = [{"label": names[index], "score": round(float(scores[0][index]), 4)} for index in best]
    return {**top5[0], "top5": top5}


def load(model):
    """The model was optimised when it was made, so not again here. One thread: more do not pay for one photo."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(bytes(model), options, providers=["CPUExecutionProvider"])


def prepare(photo):
    """The middle of the photo, as the network was trained to see it: 1×3×224×224, brightness around 0."""
    with Image.open(io.BytesIO(photo)) as image:
        image.draft("RGB", (2 * SIZE, 2 * SIZE))
        side = min(image.size) * SIZE / (SIZE + BORDER)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    pixels = (numpy.asarray(small, numpy.float32) - 127) / 128
    return numpy.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def mark(name):
    print(f"mark: {name}", flush=True)
