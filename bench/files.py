"""Makes each engine's own files from an ONNX file. Existing files are kept; delete the work folder to make them again.

All quantizers see the same pictures. What follows the last learned layer, the decoding of boxes, stays float in every engine.
"""
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter


def signature(path):
    """Name and shape of the input, names of the outputs."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    if len(inputs) != 1:
        raise ValueError(f"{path}: {len(inputs)} inputs, the harness feeds one")
    shape = [d.dim_value or 1 for d in inputs[0].type.tensor_type.shape.dim]
    return inputs[0].name, shape, [o.name for o in graph.output]


def tail(path):
    """Names of the nodes that no learned convolution or matrix product follows."""
    graph = onnx.load(path).graph
    dims = {t.name: t.dims for t in graph.initializer}
    learned = {
        n.name for n in graph.node
        if n.op_type in ("Conv", "Gemm", "MatMul", "ConvTranspose") and len(n.input) > 1
        and n.input[1] in dims and dims[n.input[1]][0] > 1
    }
    users = {}
    for n in graph.node:
        for i in n.input:
            users.setdefault(i, []).append(n)
    before = {}
    for n in reversed(graph.node):
        before[n.name] = any(u.name in learned or before[u.name] for o in n.output for u in users.get(o, []))
    return [n.name for n in graph.node if not before[n.name] and n.name not in learned]


def named(path, out):
    """A copy in which every node has a name of its own (quantizers exclude nodes by name), the shape is fixed, and constants are no inputs, which
    would keep engines from preparing them."""
    model = onnx.load(path)
    constants = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    for i, node in enumerate(model.graph.node):
        node.name = f"n{i}_{node.op_type}"
    for d in model.graph.input[0].type.tensor_type.shape.dim:
        if not d.dim_value:
            d.dim_value = 1
    onnx.save(model, out)
    return out


def ort_u8s8(job):
    """onnxruntime's static quantizer: QDQ, u8 activations, s8 weights per channel, min-max."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.items = iter(job.calibration())

        def get_next(self):
            x = next(self.items, None)
            return None if x is None else {job.input: x}

    prepared = job.file(".prepared.onnx")
    model = onnx.load(job.named)
    if model.opset_import[0].version < 13:  # scales per channel came with it
        model = onnx.version_converter.convert_version(model, 13)
    onnx.save(model, prepared)
    quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
    named(prepared, prepared)
    quantize_static(str(prepared), str(job.file(".ort-u8s8.onnx")), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=tail(prepared))
    prepared.unlink()


def ov_int8(job):
    """NNCF's post-training quantization, preset performance."""
    import nncf
    import openvino
    model = openvino.convert_model(str(job.named))
    names = {o.get_friendly_name() for o in model.get_ops()}
    ignored = nncf.IgnoredScope(names=[n for n in tail(job.named) if n in names], validate=False)
    data = nncf.Dataset(list(job.calibration()))
    quantized = nncf.quantize(model, data, preset=nncf.QuantizationPreset.PERFORMANCE, subset_size=job.count,
                              ignored_scope=ignored)
    openvino.save_model(quantized, str(job.file(".ov-int8.xml")), compress_to_fp16=False)


def quantize_rs(job, bits):
    """The Rust crate quantize-rs, by its Python wheel: static int8 of convolutions, weights per channel and activations per tensor, min-max; or int4 weights alone.
    What it does not know stays float."""
    import quantize_rs as tool
    source, out = job.file(".opset13.onnx"), job.file(f".quantize-rs-int{bits}.onnx")
    model = onnx.load(job.named)
    if model.opset_import[0].version < 13:  # the least it takes
        model = onnx.version_converter.convert_version(model, 13)
    onnx.save(model, source)
    if bits == 8:
        samples = job.file(".samples.npy")
        np.save(samples, np.concatenate(list(job.calibration())))
        tool.quantize_with_calibration(str(source), str(out), calibration_data=str(samples), per_channel=True, symmetric=True, method="minmax")
        samples.unlink()
    else:
        tool.quantize(str(source), str(out), bits=bits, per_channel=True, symmetric=True)
    source.unlink()


def mnn(job, suffix, *more):
    """MNN's converter. The wheel's own command installs a logging package on first use; the extension module does not."""
    arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", str(job.named), "--MNNModel", str(job.file(suffix)),
                 "--bizCode", "bench", *more]
    subprocess.run([sys.executable, "-c", f"import MNN, _tools; _tools.mnnconvert({arguments!r})"], check=True,
                   stdout=subprocess.DEVNULL)


def ncnn(job):
    """pnnx's converter, in float32. The wheel has no tools for int8."""
    import importlib.util
    binary = Path(importlib.util.find_spec("pnnx").submodule_search_locations[0]) / "pnnx"
    shape = ",".join(map(str, job.shape))
    folder = job.file(".pnnx")
    folder.mkdir(exist_ok=True)
    source = folder / "m.onnx"
    source.write_bytes(job.named.read_bytes())
    subprocess.run([str(binary), str(source), f"inputshape=[{shape}]", "fp16=0"], check=True, cwd=folder,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for end in ("param", "bin"):
        (folder / f"m.ncnn.{end}").rename(job.file(f".ncnn.{end}"))
    for rest in folder.iterdir():
        rest.unlink()
    folder.rmdir()


def lowbit(job, grid):
    """`lowbit quantize` with its defaults and what `--flags` adds, on the same pictures; written whatever it detects: the SQNR tells."""
    out = job.file(f".lowbit-{grid}.onnx")
    words = [job.lowbit, "quantize", "--grid", grid, "--calib", job.pictures_folder, "--subset-size", str(job.count),
             *job.flags, "--force", "--quiet", "-o", out, job.model]
    done = subprocess.run([str(w) for w in words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}")


def calibration(paths, model, shape):
    import pictures
    for path in paths:
        yield np.ascontiguousarray(pictures.tensor(path, model, shape))
