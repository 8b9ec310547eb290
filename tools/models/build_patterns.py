#!/usr/bin/env python3
"""Operator patterns of converters that are not PyTorch's, and file forms: built by hand with onnx.helper.

    python tools/models/build_patterns.py        (onnx 1.23, onnxruntime 1.32; after export_torch.py, whose files it changes)

tf2onnx and paddle2onnx need the whole frameworks; what they write is known from their sources and from real files, and copied here node by node.
"""
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from golden import FOLDER, picture, run, save

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


class Net:
    """Nodes and initializers under construction."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants, self.count = [], [], 0

    def name(self, op):
        self.count += 1
        return f"{op}_{self.count}"

    def const(self, value, name=None):
        name = name or self.name("const")
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape):
        fan = np.prod(shape[1:]) if len(shape) > 1 else 4
        return self.const((self.random.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32))

    def op(self, op, *inputs, outputs=1, out=None, **attributes):
        name = out or self.name(op.lower())
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"{op}/{name}", **attributes))
        return names[0] if outputs == 1 else names

    def constant_node(self, value):
        name = self.name("constant")
        self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value), name)))
        return name

    def model(self, name, inputs, outputs, opset, ir, producer):
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name=producer, ir_version=ir)
        onnx.checker.check_model(model)
        return model


def f32(*values):
    return np.array(values, np.float32)


def i64(*values):
    return np.array(values, np.int64)


def tensorflow():
    """A MobileNet-SSD head as tf2onnx writes it: NHWC outside, NCHW between Transposes, Pad + VALID, Relu6 in three spellings, Reshape and Concat."""
    n = Net(21)
    x = n.op("Transpose", "image:0", perm=[0, 3, 1, 2])
    x = n.op("Sub", n.op("Mul", x, n.const(f32(2.0))), n.const(np.ones((1, 1, 1, 1), np.float32)))
    x = n.op("Pad", x, n.const(i64(0, 0, 0, 0, 0, 0, 1, 1)), mode="constant")
    x = n.op("Conv", x, n.weight(8, 3, 3, 3), n.weight(8), strides=[2, 2], auto_pad="VALID", kernel_shape=[3, 3])
    x = n.op("Clip", x, n.const(np.float32(0)), n.const(np.float32(6)))
    # Depthwise, BatchNorm left as Mul and Add.
    y = n.op("Conv", x, n.weight(8, 1, 3, 3), group=8, auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3])
    y = n.op("Add", n.op("Mul", y, n.weight(1, 8, 1, 1)), n.weight(1, 8, 1, 1))
    y = n.op("Min", n.op("Max", y, n.const(np.float32(0))), n.const(np.float32(6)))
    y = n.op("Conv", y, n.weight(8, 8, 1, 1), n.weight(8), kernel_shape=[1, 1], pads=[0, 0, 0, 0])
    z = n.op("Min", n.op("Relu", y), n.const(f32(6)))
    up = n.op("Resize", z, n.const(f32()), n.const(f32(1, 1, 2, 2)), mode="nearest", coordinate_transformation_mode="half_pixel",
              nearest_mode="round_prefer_ceil")
    x = n.op("Add", x, up)
    # Squeeze-and-excite through Squeeze, MatMul and Reshape.
    s = n.op("Squeeze", n.op("GlobalAveragePool", x), axes=[2, 3])
    s = n.op("Relu", n.op("Add", n.op("MatMul", s, n.weight(8, 4)), n.weight(4)))
    s = n.op("Sigmoid", n.op("Add", n.op("MatMul", s, n.weight(4, 8)), n.weight(8)))
    x = n.op("Mul", x, n.op("Reshape", s, n.const(i64(-1, 8, 1, 1))))
    boxes, scores = [], []
    for feature in (x, y):
        for width, into in ((4, boxes), (3, scores)):
            h = n.op("Conv", feature, n.weight(width * 2, 8, 1, 1), n.weight(width * 2), auto_pad="SAME_UPPER", kernel_shape=[1, 1])
            h = n.op("Transpose", h, perm=[0, 2, 3, 1])
            into.append(n.op("Reshape", h, n.const(i64(1, -1, width))))
    b = n.op("Concat", *boxes, axis=1)
    cy, cx, h, w = n.op("Split", b, outputs=4, axis=-1)
    n.op("Concat", cy, cx, n.op("Exp", h), n.op("Exp", w), axis=-1, out="raw_boxes:0")
    n.op("Softmax", n.op("Concat", *scores, axis=1), axis=2, out="scores:0")
    inputs = [helper.make_tensor_value_info("image:0", F32, [1, 32, 32, 3])]
    outputs = [helper.make_tensor_value_info("raw_boxes:0", F32, [1, None, 4]), helper.make_tensor_value_info("scores:0", F32, [1, None, 3])]
    save("tensorflow_ssd", n.model("tf2onnx", inputs, outputs, 12, 7, "tf2onnx"), {"image:0": picture(1, 32, 32, 3, seed=21)})


def paddle():
    """A PP-PicoDet neck as paddle2onnx writes it: dynamic batch, BatchNormalization nodes, hard-swish and hard-sigmoid taken apart, sizes of Resize
    computed by Shape, Slice, Cast and Concat, Constant nodes in place of initializers."""
    n = Net(22)

    def conv_bn(x, o, i, k, s=1, group=1):
        x = n.op("Conv", x, n.weight(o, i // group, k, k), dilations=[1, 1], group=group, kernel_shape=[k, k], pads=[k // 2] * 4, strides=[s, s])
        variance = n.const(n.random.uniform(0.5, 2, o).astype(np.float32))
        return n.op("BatchNormalization", x, n.weight(o), n.weight(o), n.weight(o), variance, epsilon=1e-5, momentum=0.9)

    def hard_swish(x):
        y = n.op("Add", x, n.constant_node(f32(3)))
        y = n.op("Clip", y, n.constant_node(np.float32(0)), n.constant_node(np.float32(6)))
        return n.op("Div", n.op("Mul", x, y), n.constant_node(f32(6)))

    def hard_sigmoid(x):
        y = n.op("Add", n.op("Mul", x, n.constant_node(f32(1 / 6))), n.constant_node(f32(0.5)))
        return n.op("Clip", y, n.constant_node(np.float32(0)), n.constant_node(np.float32(1)))

    a = hard_swish(conv_bn("image", 8, 3, 3, 2))
    b = hard_swish(conv_bn(a, 8, 8, 3, 2, group=8))
    # Squeeze and excite.
    s = n.op("AveragePool", b, kernel_shape=[8, 8], strides=[8, 8], count_include_pad=0)
    s = n.op("Relu", n.op("Conv", s, n.weight(4, 8, 1, 1), n.weight(4), kernel_shape=[1, 1]))
    s = n.op("Conv", s, n.weight(8, 4, 1, 1), kernel_shape=[1, 1])
    s = hard_sigmoid(n.op("Add", s, n.op("Reshape", n.weight(8), n.constant_node(i64(1, 8, 1, 1)))))
    b = n.op("Mul", b, s)
    c = conv_bn(b, 8, 8, 1)
    # Size of the finer map, read from its shape.
    size = n.op("Slice", n.op("Shape", a), n.constant_node(i64(2)), n.constant_node(i64(4)), n.constant_node(i64(0)))
    size = n.op("Cast", n.op("Cast", size, to=TensorProto.INT32), to=I64)
    lead = n.op("Slice", n.op("Shape", c), n.constant_node(i64(0)), n.constant_node(i64(2)), n.constant_node(i64(0)))
    sizes = n.op("Concat", lead, size, axis=0)
    empty = n.constant_node(f32())
    up = n.op("Resize", c, empty, empty, sizes, mode="linear", coordinate_transformation_mode="half_pixel", nearest_mode="floor", cubic_coeff_a=-0.75)
    near = n.op("Resize", c, empty, n.constant_node(f32(1, 1, 2, 2)), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    y = n.op("Concat", a, up, near, axis=1)
    y = n.op("Conv", y, n.weight(6, 24, 1, 1), n.weight(6), kernel_shape=[1, 1])
    # Flattened by a shape that keeps the dynamic batch.
    batch = n.op("Slice", n.op("Shape", y), n.constant_node(i64(0)), n.constant_node(i64(1)), n.constant_node(i64(0)))
    shape = n.op("Concat", batch, n.constant_node(i64(6)), n.constant_node(i64(-1)), axis=0)
    y = n.op("Transpose", n.op("Reshape", y, shape), perm=[0, 2, 1])
    scores = n.op("Slice", y, n.constant_node(i64(0)), n.constant_node(i64(2)), n.constant_node(i64(2)), n.constant_node(i64(1)))
    boxes = n.op("Slice", y, n.constant_node(i64(2)), n.constant_node(i64(2**31 - 1)), n.constant_node(i64(-1)))
    n.op("Sqrt", n.op("Sigmoid", scores), out="scores")
    n.op("Mul", boxes, n.constant_node(f32(8)), out="boxes")
    inputs = [helper.make_tensor_value_info("image", F32, ["DynamicDimension.0", 3, 32, 32])]
    outputs = [helper.make_tensor_value_info("scores", F32, ["DynamicDimension.0", None, 2]),
               helper.make_tensor_value_info("boxes", F32, ["DynamicDimension.0", None, 4])]
    save("paddle_picodet", n.model("paddle-onnx", inputs, outputs, 11, 7, "paddle2onnx"), {"image": picture(2, 3, 32, 32, seed=22)})


def read(name):
    return onnx.load(os.path.join(FOLDER, name + ".onnx"))


def ends_in_nms():
    """The YOLOv8 net of export_torch.py, followed by NonMaxSuppression and what gathers its choice."""
    model = read("torchscript_yolov8")
    g, raw = model.graph, model.graph.output[0].name
    init = {"nms_max": i64(10), "nms_iou": f32(0.5), "nms_score": f32(0.5), "parts": i64(4, 3), "batch_and_box": i64(0, 2)}
    g.initializer.extend(numpy_helper.from_array(v, k) for k, v in init.items())
    g.node.extend([
        helper.make_node("Split", [raw], ["nms_boxes_t", "nms_scores"], axis=1, split=[4, 3]),
        helper.make_node("Transpose", ["nms_boxes_t"], ["nms_boxes"], perm=[0, 2, 1]),
        helper.make_node("NonMaxSuppression", ["nms_boxes", "nms_scores", "nms_max", "nms_iou", "nms_score"], ["selected"], center_point_box=1),
        helper.make_node("Gather", ["selected", "batch_and_box"], ["selected_box"], axis=1),
        helper.make_node("GatherND", ["nms_boxes", "selected_box"], ["boxes"]),
        helper.make_node("GatherND", ["nms_scores", "selected"], ["scores"]),
    ])
    del g.initializer[[i.name for i in g.initializer].index("parts")]
    del g.output[:]
    g.output.extend([helper.make_tensor_value_info("selected", I64, ["selected", 3]), helper.make_tensor_value_info("boxes", F32, ["selected", 4]),
                     helper.make_tensor_value_info("scores", F32, ["selected"])])
    # The batch is fixed: NonMaxSuppression's index 0 is the only one.
    g.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    save("ends_in_nms", model, {"images": picture(1, 3, 64, 64, seed=3)})


def halves(name, convert):
    """Every float constant by `convert`, wherever it stands."""
    model = read(name)
    for t in model.graph.initializer:
        if t.data_type == F32:
            t.CopyFrom(convert(t))
    for node in model.graph.node:
        for a in node.attribute:
            if a.HasField("t") and a.t.data_type == F32:
                a.t.CopyFrom(convert(a.t))
    return model


def float16():
    """Weights, edges and computation in float16, Casts at both ends. The expected outputs are those of float32 arithmetic over the rounded weights:
    float16 models are cast to f32 when they are read."""
    def to_half(t):
        return numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float16), t.name)

    def there_and_back(t):
        return numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float16).astype(np.float32), t.name)

    model = halves("torchscript_conv_bn_silu", to_half)
    g = model.graph
    x, y = g.input[0].name, g.output[0].name
    for node in g.node:
        node.input[:] = ["images_f16" if i == x else i for i in node.input]
        node.output[:] = [f"{y}_f16" if o == y else o for o in node.output]
    g.node.insert(0, helper.make_node("Cast", [x], ["images_f16"], to=TensorProto.FLOAT16))
    g.node.append(helper.make_node("Cast", [f"{y}_f16"], [y], to=F32))
    del g.value_info[:]
    # Pictures whose values float16 holds: the Cast at the input changes nothing.
    images = {"images": picture(1, 3, 32, 32, seed=4).astype(np.float16).astype(np.float32)}
    run(model, images)
    save("float16", model, images, golden_model=halves("torchscript_conv_bn_silu", there_and_back))


def bfloat16():
    """bfloat16 weights, each behind a Cast to float32: how they are stored to halve a file."""
    def to_bf16(t):
        bits = numpy_helper.to_array(t).view(np.uint32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        return helper.make_tensor(t.name, TensorProto.BFLOAT16, t.dims, rounded.tobytes(), raw=True)

    model = read("dynamo_conv_bn_silu")
    g = model.graph
    for t in g.initializer:
        if t.data_type != F32:
            continue
        t.CopyFrom(to_bf16(t))
        for node in g.node:
            node.input[:] = [f"{t.name}_f32" if i == t.name else i for i in node.input]
    g.node.reverse()
    g.node.extend(helper.make_node("Cast", [t.name], [f"{t.name}_f32"], to=F32) for t in g.initializer if t.data_type == TensorProto.BFLOAT16)
    g.node.reverse()
    save("bfloat16_weights", model, {"images": picture(1, 3, 32, 32, seed=5)})


def newest_opset():
    """The YOLOv8 net under the newest opset that the onnx package knows."""
    model = onnx.version_converter.convert_version(read("dynamo_yolov8"), onnx.defs.onnx_opset_version())
    model.ir_version = 13
    images = {"images": picture(1, 3, 64, 64, seed=6)}
    try:
        save("newest_opset", model, images)
    except Exception as e:
        # A runtime older than the opset: the same nodes under the opset that it has.
        print(f"newest_opset: {str(e)[:160]}; computed under opset 20")
        save("newest_opset", model, images, golden_model=read("dynamo_yolov8"))


def main():
    print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
    tensorflow()
    paddle()
    ends_in_nms()
    float16()
    bfloat16()
    save("external_data", read("dynamo_focus"), {"images": picture(1, 3, 32, 32, seed=7)}, external=True)
    newest_opset()


main()
