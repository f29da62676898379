"""Makes warm-up.bin, a network of a few numbers with layers of all the kinds that EfficientNet-Lite0 has.

    python3 apps/imgrec-wasm/warm-up.py apps/imgrec-wasm/warm-up.bin   # with the packages of setup/assets/requirements.txt
"""

import sys

import numpy
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 8
SIZE = 16


def build():
    nodes, constants = [], []

    def constant(name, *shape):
        constants.append(numpy_helper.from_array(numpy.full(shape, 0.1, numpy.float32), name))
        return name

    def convolution(x, name, kernel, inputs, group=1, stride=1, fused=True):
        weight = constant(f"{name}.weight", CHANNELS, inputs, kernel, kernel)
        more = {"activation": "Clip", "activation_params": [0.0, 6.0], "domain": "com.microsoft"} if fused else {}
        nodes.append(
            helper.make_node(
                "FusedConv" if fused else "Conv",
                [x, weight, constant(f"{name}.bias", CHANNELS)],
                [name],
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[kernel // 2] * 4,
                group=group,
                **more,
            )
        )
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    entry = x = convolution("image", "stem", kernel=3, inputs=3, stride=2)
    x = convolution(x, "depthwise3", kernel=3, inputs=1, group=CHANNELS)
    x = convolution(x, "depthwise5", kernel=5, inputs=1, group=CHANNELS)
    x = convolution(x, "project", kernel=1, inputs=CHANNELS, fused=False)
    x = node("Add", [x, entry], "sum")
    x = node("Flatten", [node("GlobalAveragePool", [x], "mean")], "flat")
    x = node("Gemm", [x, constant("fc.weight", 4, CHANNELS), constant("fc.bias", 4)], "classes", transB=1)
    node("Softmax", [x], "probabilities", axis=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(nodes, "warm-up", [image], [answer], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as file:
        file.write(build().SerializeToString())
