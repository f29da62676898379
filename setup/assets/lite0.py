"""EfficientNet-Lite0 as an ONNX graph, with the batch normalisations folded into the convolutions before them.

The architecture: stem 3×3/2 to 32 channels; blocks (expand 1×1, depthwise k×k, project 1×1, a sum around the block
where shapes allow); head 1×1 to 1280; mean over the image; a linear layer to 1000 classes. Every activation is ReLU6.
Padding is TensorFlow's "SAME": what is missing is added, the odd pixel at the end.
"""

from dataclasses import dataclass

import numpy
from onnx import TensorProto, checker, helper, numpy_helper

IMAGE_SIZE = 224
BATCH_NORM_EPSILON = 1e-3
CLASSES = 1000
OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True)
class Stage:
    repeats: int
    kernel: int
    stride: int
    expands: bool


STAGES = [
    Stage(repeats=1, kernel=3, stride=1, expands=False),
    Stage(repeats=2, kernel=3, stride=2, expands=True),
    Stage(repeats=2, kernel=5, stride=2, expands=True),
    Stage(repeats=3, kernel=3, stride=2, expands=True),
    Stage(repeats=3, kernel=5, stride=1, expands=True),
    Stage(repeats=4, kernel=5, stride=2, expands=True),
    Stage(repeats=1, kernel=3, stride=1, expands=True),
]


def build(weights):
    """Returns the ONNX model of the checkpoint `weights` ({name: array}). Raises KeyError where it lacks a tensor."""
    graph = _Graph(weights)
    x, size = graph.convolution("image", "_conv_stem", "_bn0", IMAGE_SIZE, kernel=3, stride=2)
    channels = weights["_conv_stem.weight"].shape[0]
    index = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x, size, channels = graph.block(x, size, channels, f"_blocks.{index}.", stage, stride)
            index += 1
    x, size = graph.convolution(x, "_conv_head", "_bn1", size)
    x = graph.node("GlobalAveragePool", [x])
    x = graph.node("Flatten", [x])
    classes = graph.node("Gemm", [x, graph.constant("_fc.weight"), graph.constant("_fc.bias")], transB=1)
    graph.node("Softmax", [classes], output="probabilities", axis=1)
    return graph.model()


def fold(kernel, gamma, beta, mean, variance):
    """Returns weight and bias of one convolution that does what `kernel` and the normalisation behind it do."""
    scale = gamma / numpy.sqrt(variance + BATCH_NORM_EPSILON)
    return kernel * scale[:, None, None, None], beta - mean * scale


def same_padding(size, kernel, stride):
    """Returns (before, after, size of the output) along one dimension."""
    output = -(-size // stride)
    total = max((output - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2, output


class _Graph:
    def __init__(self, weights):
        self._weights = weights
        self._nodes = []
        self._constants = []
        low, high = numpy.float32(0), numpy.float32(6)
        self._clip = [self._add("zero", low), self._add("six", high)]

    def _add(self, name, array):
        self._constants.append(numpy_helper.from_array(numpy.asarray(array, numpy.float32), name))
        return name

    def constant(self, name):
        return self._add(name, self._weights[name])

    def node(self, kind, inputs, output=None, **attributes):
        output = output or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(self, x, name, norm, size, kernel=1, stride=1, depthwise=False, active=True):
        """Adds a convolution with its normalisation and, if `active`, ReLU6. Returns its output and its size."""
        parts = [self._weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        weight, bias = fold(self._weights[f"{name}.weight"], *parts)
        before, after, output_size = same_padding(size, kernel, stride)
        x = self.node(
            "Conv",
            [x, self._add(f"{name}.weight", weight), self._add(f"{name}.bias", bias)],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=weight.shape[0] if depthwise else 1,
        )
        return (self.node("Clip", [x, *self._clip]) if active else x), output_size

    def block(self, x, size, channels, prefix, stage, stride):
        """Adds one block. Returns its output, its size and its number of channels."""
        entry = x
        if stage.expands:
            x, size = self.convolution(x, f"{prefix}_expand_conv", f"{prefix}_bn0", size)
        x, size = self.convolution(
            x, f"{prefix}_depthwise_conv", f"{prefix}_bn1", size, stage.kernel, stride, depthwise=True
        )
        x, size = self.convolution(x, f"{prefix}_project_conv", f"{prefix}_bn2", size, active=False)
        produced = self._weights[f"{prefix}_project_conv.weight"].shape[0]
        if stride == 1 and produced == channels:
            x = self.node("Add", [x, entry])
        return x, size, produced

    def model(self):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, IMAGE_SIZE, IMAGE_SIZE])
        classes = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, CLASSES])
        graph = helper.make_graph(self._nodes, "efficientnet-lite0", [image], [classes], self._constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="headstart")
        checker.check_model(model)
        return model
