"""Says what is in a photo: EfficientNet-Lite0 in onnxruntime."""

import io

import numpy
import onnxruntime
from PIL import Image

SIZE = 224
BORDER = 32

# Pillow would load its decoders at the first photo.
Image.preinit()

# What pillow raises for bytes that are no picture.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

_session = None


class NotAPhoto(ValueError):
    """Bytes in no format that pillow reads."""


def is_loaded():
    """Whether the network is here, so that its model is not needed again."""
    return _session is not None


def classify(model, photo):
    """Returns {"label", "score", "top5"} of the photo, in any format that pillow reads. Raises NotAPhoto."""
    global _session
    try:
        image = prepare(photo)
    except _UNREADABLE as error:
        raise NotAPhoto(f"it cannot be read: {error}") from None
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
