"""inferred_shapes.py MODEL…: what onnx.shape_inference says of each value, one a line: MODEL, name, type, dimensions.

Dynamic dimensions of inputs become 1. Types are numpy's names; float16 comes as float32, as lowbit reads it. Values whose shape is
not fixed are left out.
"""
import sys

import onnx
from onnx import helper, shape_inference


def main():
    for path in sys.argv[1:]:
        model = onnx.load(path)
        constants = {i.name for i in model.graph.initializer}
        for i in model.graph.input:
            if i.name in constants:
                continue
            for d in i.type.tensor_type.shape.dim:
                if not d.HasField("dim_value"):
                    d.Clear()
                    d.dim_value = 1
        # What the file declares must not be taken for what follows.
        del model.graph.value_info[:]
        for o in model.graph.output:
            o.type.tensor_type.ClearField("shape")
        model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        for v in [*model.graph.value_info, *model.graph.output]:
            t = v.type.tensor_type
            dims = [d.dim_value if d.HasField("dim_value") else -1 for d in t.shape.dim]
            if not t.HasField("shape") or -1 in dims:
                continue
            kind = helper.tensor_dtype_to_np_dtype(t.elem_type).name
            kind = "float32" if kind in ("float16", "bfloat16") else kind
            print(path, v.name, kind, ",".join(map(str, dims)), sep="\t")


main()
