"""VGG in ONNX Runtime: an ``onnx.ModelProto`` of stock operators. Native layout NCHW, OIHW, dense (out, in).

ONNX Runtime infers and does not train, and its convolutions are float32: the module claims no more than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from vgg.backends import Array, Arrays, check_floats
from vgg.core.blocks import BATCH_NORM_EPSILON, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from vgg.core.errors import mismatch
from vgg.core.init import init
from vgg.core.params import check_params, shapes
from vgg.core.spec import Spec

LEVEL = "inference"
DTYPES = ("float32",)
OPSET = 17
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def vgg_block(block: Block, x: str, name: str, batch_norm: bool = False) -> list[onnx.NodeProto]:
    """Return the nodes of one block on the tensor ``x`` (N, C, H, W); each is named after its layer and output."""
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, layer: str, parameters: tuple[str, ...] = (), **attributes: Any) -> None:
        output = f"{name}.{layer}"
        inputs = [nodes[-1].output[0] if nodes else x, *(f"{output}.{part}" for part in parameters)]
        nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))

    for i, conv in enumerate(block.convs, 1):
        add("Conv", f"conv{i}", ("weight", "bias"), strides=[conv.stride] * 2, pads=[conv.padding] * 4)
        if batch_norm:
            add("BatchNormalization", f"bn{i}", _BATCH_NORM, epsilon=BATCH_NORM_EPSILON)
        add("Relu", f"relu{i}")
        if conv.lrn:
            # ONNX divides alpha by the size of the window.
            add("LRN", f"lrn{i}", size=LRN_SIZE, alpha=LRN_ALPHA * LRN_SIZE, beta=LRN_BETA, bias=LRN_K)
    if block.pool:
        add("MaxPool", "pool", kernel_shape=[block.pool.kernel] * 2, strides=[block.pool.stride] * 2)
    return nodes


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> onnx.ModelProto:
    """Return ``spec`` as an ``onnx.ModelProto``: images (N, C, H, W) to logits (N, classes)."""
    if (dtype, device) != ("float32", "cpu"):
        raise mismatch("build", f"{dtype} on {device}", "float32 on cpu")
    nodes: list[onnx.NodeProto] = []
    for i, block in enumerate(spec.blocks, 1):
        nodes += vgg_block(block, nodes[-1].output[0] if nodes else "images", f"block{i}", spec.batch_norm)
    nodes += _head(spec, nodes[-1].output[0])
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", *spec.input_shape])
    graph = helper.make_graph(nodes, spec.name, [image], [_output(nodes[-1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(model, {"spec": spec.to_json()})
    return load(model, init(spec))


def load(model: onnx.ModelProto, params: Mapping[str, Array]) -> onnx.ModelProto:
    """Return ``model``, now holding copies of these canonical parameters as its initializers."""
    spec = _spec(model)
    check_params(params, spec)
    del model.graph.initializer[:]
    arrays = {name: np.ascontiguousarray(params[name], np.float32) for name in shapes(spec)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


def dump(model: onnx.ModelProto) -> Arrays:
    """Return ``{canonical name: array}``, copies."""
    return {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}


def forward(model: onnx.ModelProto, x: Array, *, train: bool = False) -> Array:
    """Return logits (N, classes) of images (N, C, H, W)."""
    check_floats(x, _spec(model))
    return next(reversed(_run(model, x, train).values()))


def trace(model: onnx.ModelProto, x: Array, *, train: bool = False) -> Arrays:
    """Return every layer's output by layer name, logits last."""
    check_floats(x, _spec(model))
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(_output(node) for node in model.graph.node if node.name)
    return _run(shown, x, train)


def facts() -> dict[str, Any]:
    """Return versions, devices and flags that change numbers."""
    return {
        "framework": f"onnxruntime {ort.__version__}",
        "versions": {"onnxruntime": ort.__version__, "onnx": onnx.__version__, "numpy": np.__version__},
        "devices": ["cpu"],
        "gpus": 0,
        "flags": {"opset": OPSET},
    }


def _head(spec: Spec, features: str) -> list[onnx.NodeProto]:
    """Nodes without a name are no layers of the table."""
    if spec.head.global_pool:
        pooled = helper.make_node("GlobalAveragePool", [features], ["pooled"])
        nodes = [pooled, helper.make_node("Flatten", ["pooled"], ["global_avg_pool"], "global_avg_pool")]
    else:
        nodes = [helper.make_node("Flatten", [features], ["flatten"], "flatten")]
    for i, _ in enumerate(spec.head.hidden, 1):
        nodes.append(_dense(f"fc{i}", nodes[-1].output[0]))
        nodes.append(helper.make_node("Relu", [f"fc{i}"], [f"fc{i}.relu"], f"fc{i}.relu"))
        if spec.head.dropout:
            nodes.append(helper.make_node("Dropout", [f"fc{i}.relu"], [f"fc{i}.dropout"], f"fc{i}.dropout"))
    return [*nodes, _dense(f"fc{len(spec.head.hidden) + 1}", nodes[-1].output[0])]


def _output(node: onnx.NodeProto) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)


def _run(model: onnx.ModelProto, x: Array, train: bool) -> Arrays:
    """Every output of the graph by name."""
    if train:
        raise mismatch("train", "True", "False: ONNX Runtime does not train")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": np.asarray(x, np.float32)}), strict=True))


def _dense(name: str, x: str) -> onnx.NodeProto:
    return helper.make_node("Gemm", [x, f"{name}.weight", f"{name}.bias"], [name], name, transB=1)


def _spec(model: onnx.ModelProto) -> Spec:
    return Spec.from_json({entry.key: entry.value for entry in model.metadata_props}["spec"])
