"""Structures that other quantizers test themselves on, each as ONNX text: one thing per graph.

After the subjects of ONNX Runtime's onnxruntime/test/python/quantization (test_op_*, test_qdq,
test_quantize_static, test_quant_issues, test_subgraph) and of torch FX's test_quantize_fx; written
anew. A body is a chain from `x` to `y`; where it has no weighted operator in front, one is put
there, so that what is tested stands between integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

IMAGE, ROWS, TOKENS = "4,4,8,8", "4,16", "2,6,16"
FRONT = {
    IMAGE: ("h = Conv(x, front)", "float[4,4,1,1] front"),
    ROWS: ("h = Gemm(x, front, fb)", "float[16,16] front, float[16] fb"),
    TOKENS: ("h = MatMul(x, front)", "float[16,16] front"),
}
"""What stands in front of the tested operators, by shape."""

_ACTIVATIONS = {
    "relu": "y = Relu(h)",
    "relu6": "y = Clip(h, zero, six)",
    "hardtanh": "y = Clip(h, minus, one)",
    "sigmoid": "y = Sigmoid(h)",
    "tanh": "y = Tanh(h)",
    "leaky_relu": "y = LeakyRelu<alpha = 0.1>(h)",
    "elu": "y = Elu(h)",
    "celu": "y = Celu(h)",
    "selu": "y = Selu(h)",
    "hardsigmoid": "y = HardSigmoid<alpha = 0.1666667, beta = 0.5>(h)",
    "hardswish": "y = HardSwish(h)",
    "hardswish taken apart": (
        "a = Add(h, three) i = Clip(a, zero, six) c = Mul(h, i) y = Div(c, six)"
    ),
    "silu": "s = Sigmoid(h) y = Mul(h, s)",
    "mish": "s = Softplus(h) t = Tanh(s) y = Mul(h, t)",
    "gelu": "a = Mul(h, half) i = Mul(h, rt) c = Erf(i) d = Add(c, one) y = Mul(a, d)",
    "softmax": "y = Softmax(h)",
    "log_softmax": "y = LogSoftmax(h)",
    "add": "r = Relu(h) y = Add(h, r)",
    "add relu": "r = Sigmoid(h) a = Add(h, r) y = Relu(a)",
    "add itself": "y = Add(h, h)",
    "add scalar": "s = Sigmoid(h) y = Add(s, half)",
    "add constant first": "s = Sigmoid(h) y = Add(half, s)",
    "mul": "r = Sigmoid(h) y = Mul(h, r)",
    "mul relu": "r = Sigmoid(h) a = Mul(h, r) y = Relu(a)",
    "mul scalar": "s = Sigmoid(h) y = Mul(s, half)",
    "where constant": "big = Greater(h, zero) s = Sigmoid(h) y = Where(big, s, half)",
    "where": "big = Greater(h, zero) s = Sigmoid(h) y = Where(big, s, h)",
    "sub": "r = Relu(h) y = Sub(h, r)",
    "div": "s = Sigmoid(h) y = Div(h, s)",
    "concat": "r = Relu(h) y = Concat<axis = 1>(h, r)",
    "concat last": "r = Relu(h) y = Concat<axis = -1>(h, r)",
    "concat relu": "s = Sigmoid(h) a = Concat<axis = 1>(h, s) y = Relu(a)",
    "dropout": "r = Relu(h) y = Dropout(r)",
    "identity": "i = Identity(h) y = Relu(i)",
    "transpose": "y = Transpose(h)",
    "flatten": "y = Flatten(h)",
    "reshape": "y = Reshape(h, flat)",
    "unsqueeze squeeze": "u = Unsqueeze(h, axis) r = Relu(u) y = Squeeze(r, axis)",
    "slice": "y = Slice(h, start, stop, axis)",
    "gather": "y = Gather<axis = 1>(h, pick)",
    "split halves": "a, i = Split<axis = 1, num_outputs = 2>(h) y = Add(a, i)",
    "reduce mean": "y = ReduceMean<keepdims = 1>(h, last)",
    "argmax": "y = ArgMax<axis = 1>(h)",
    "topk": "y, i = TopK<axis = 1>(h, axis)",
    "sign abs": "a = Abs(h) y = Sqrt(a)",
    "layer norm": "y = LayerNormalization(h, lw, lb)",
    "pad": "y = Pad(h, pads)",
}
_IMAGES = {
    "conv": "y = Conv<pads = [1,1,1,1]>(x, w3, b4)",
    "conv no bias": "y = Conv(x, w3)",
    "conv relu": "a = Conv(x, w3, b4) y = Relu(a)",
    "conv clip": "a = Conv(x, w3, b4) y = Clip(a, zero, six)",
    "conv bn": "a = Conv(x, w3, b4) y = BatchNormalization(a, bs, bb, bm, bv)",
    "conv bn relu": "a = Conv(x, w3) b = BatchNormalization(a, bs, bb, bm, bv) y = Relu(b)",
    "bn conv": "a = BatchNormalization(x, bs, bb, bm, bv) y = Conv(a, w3, b4)",
    "bn relu": "c = Conv(x, w3) d = Relu(c) a = BatchNormalization(d, bs, bb, bm, bv) y = Relu(a)",
    "depthwise": "y = Conv<group = 4>(x, wd, b4)",
    "grouped": "y = Conv<group = 2>(x, wg, b4)",
    "dilated": "y = Conv<dilations = [2,2]>(x, w3)",
    "strided same": 'y = Conv<strides = [2,2], auto_pad = "SAME_UPPER">(x, w3)',
    "conv conv": "a = Conv(x, w3, b4) y = Conv(a, w3, b4)",
    "conv shared": (
        "a = Conv<pads = [1,1,1,1]>(x, w3) b = Conv<pads = [1,1,1,1]>(a, w3) y = Add(a, b)"
    ),
    "residual relu": "a = Conv<pads = [1,1,1,1]>(x, w3, b4) b = Add(a, h) y = Relu(b)",
    "conv transpose": "y = ConvTranspose(x, w3, b4)",
    "max pool": "y = MaxPool<kernel_shape = [2,2]>(h)",
    "max pool ceil": "y = MaxPool<kernel_shape = [3,3], strides = [2,2], ceil_mode = 1>(h)",
    "average pool": "y = AveragePool<kernel_shape = [2,2]>(h)",
    "average pool padded": "y = AveragePool<kernel_shape = [3,3], pads = [1,1,1,1]>(h)",
    "global average pool": "y = GlobalAveragePool(h)",
    "global max pool": "y = GlobalMaxPool(h)",
    "pool flatten gemm": "p = GlobalAveragePool(h) f = Flatten(p) y = Gemm<transB = 1>(f, g4)",
    "resize nearest": 'y = Resize<mode = "nearest">(h, , scales)',
    "resize linear": 'y = Resize<mode = "linear">(h, , scales)',
    "instance norm": "y = InstanceNormalization(h, bs, bb)",
    "prelu": "y = PRelu(h, slope)",
    "depth to space": "y = DepthToSpace<blocksize = 2>(h)",
    "squeeze excite": "p = GlobalAveragePool(h) c = Conv(p, w1) s = Sigmoid(c) y = Mul(h, s)",
    "lrn": "y = LRN<size = 3>(h)",
}
_PRODUCTS = {
    "gemm": "y = Gemm(x, w, b)",
    "gemm transposed": "y = Gemm<transB = 1>(x, w, b)",
    "gemm both transposed": "t = Transpose(x) y = Gemm<transA = 1, transB = 1>(t, w, b)",
    "gemm no bias": "y = Gemm(x, w)",
    "gemm relu": "a = Gemm(x, w, b) y = Relu(a)",
    "gemm relu gemm": "a = Gemm(x, w, b) r = Relu(a) y = Gemm(r, w, b)",
    "gemm bn": "a = Gemm(x, w, b) y = BatchNormalization(a, n, b, b, v)",
    "matmul": "y = MatMul(x, w)",
    "matmul add": "a = MatMul(x, w) y = Add(a, b)",
    "matmul add relu": "a = MatMul(x, w) c = Add(a, b) y = Relu(c)",
    "matmul left": "t = Transpose(x) y = MatMul(w, t)",
    "matmul of two": "h = MatMul(x, w) t = Transpose(h) y = MatMul(h, t)",
    "matmul matmul": "a = MatMul(x, w) y = MatMul(a, w)",
    "gemm of two": "h = Gemm(x, w, b) y = Gemm<transB = 1>(h, h)",
}
_SEQUENCES = {
    "projection": "y = MatMul(x, w)",
    "projection bias": "a = MatMul(x, w) y = Add(a, b)",
    "projection bias relu": "a = MatMul(x, w) c = Add(a, b) y = Relu(c)",
    "attention": (
        "q = MatMul(x, w) k = MatMul(x, u) t = Transpose<perm = [0,2,1]>(k) s = MatMul(q, t) "
        "d = Mul(s, half) p = Softmax(d) v = MatMul(x, w) y = MatMul(p, v)"
    ),
    "scores masked": (
        "q = MatMul(x, w) t = Transpose<perm = [0,2,1]>(x) s = MatMul(q, t) y = Softmax(s)"
    ),
    "heads": "q = MatMul(x, w) r = Reshape(q, heads) y = Transpose<perm = [0,2,1,3]>(r)",
    "feed forward": "a = MatMul(x, w) r = Relu(a) y = MatMul(r, u)",
    "skip layer norm": "a = MatMul(x, w) s = Add(a, x) y = LayerNormalization(s, n, b)",
    "embedding": "i = Cast<to = 7>(x) m = Clip(i, first, end) y = Gather(w, m)",
    "branches": "a = MatMul(x, w) c = MatMul(x, u) d = Sigmoid(c) y = Mul(a, d)",
    "lstm": "y = LSTM<hidden_size = 8>(x, lw, lr, lb)",
    "gru": "y = GRU<hidden_size = 8, linear_before_reset = 1>(x, gw, gr, gb)",
    "split heads": (
        "a = MatMul(x, w) p, q = Split<axis = -1, num_outputs = 2>(a) "
        "c = MatMul(p, u8) d = MatMul(q, u8) y = Add(c, d)"
    ),
}
_SCALARS = (
    "float zero = {0}, float six = {6}, float three = {3}, float one = {1}, float minus = {-1}, "
    "float half = {0.5}, float rt = {0.70710678}, int64[1] axis = {1}, int64[1] last = {-1}, "
    "int64[1] start = {0}, int64[1] stop = {2}, int64[2] flat = {4, -1}, int64[2] pick = {0, 2}, "
    "int64 first = {0}, int64 end = {15}, int64[4] heads = {0, 0, 4, 4}"
)
_STORED = {
    IMAGE: (
        "float[4,4,3,3] w3, float[4] b4, float[4,1,3,3] wd, float[4,2,3,3] wg, float[4,4,1,1] w1, "
        "float[4] bs, float[4] bb, float[4] bm, float[4] bv = {1, 1, 2, 1}, float[3,4] g4, "
        "float[4,1,1] slope, float[8] lw, float[8] lb, int64[8] pads = {0,0,1,1,0,0,1,1}, "
        "float[4] scales = {1, 1, 2, 2}"
    ),
    ROWS: (
        "float[16,16] w, float[16] b, float[16] n, float[16] lw, float[16] lb, "
        "float[16] v = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}, int64[4] pads = {0,1,0,1}"
    ),
    TOKENS: (
        "float[16,16] w, float[16,16] u, float[8,4] u8, float[16] b, float[16] n, "
        "float[1,32,16] lw, float[1,32,8] lr, float[1,64] lb, "
        "float[1,24,16] gw, float[1,24,8] gr, float[1,48] gb"
    ),
}


def structures() -> Iterator[tuple[str, str]]:
    """Name and ONNX text of every structure; unused constants are left out."""
    for shape, bodies in ((IMAGE, _IMAGES), (ROWS, _PRODUCTS), (TOKENS, _SEQUENCES)):
        yield from _texts(shape, bodies)
    for shape, kind in ((IMAGE, "image"), (ROWS, "rows")):
        yield from _texts(shape, {f"{name} ({kind})": body for name, body in _ACTIVATIONS.items()})


def _texts(shape: str, bodies: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, body in bodies.items():
        front, kept = FRONT[shape] if " h" in f" {body}".replace("(", " ") else ("", "")
        whole = (
            body if not front or body.startswith("h = ") or " h = " in body else f"{front} {body}"
        )
        read = set(whole.replace("(", " ").replace(")", " ").replace(",", " ").split())
        declared = [*_split(kept), *_split(_STORED[shape]), *_split(_SCALARS)]
        wanted = [each for each in declared if each.split("=")[0].split()[-1] in read]
        yield (
            name,
            f"g (float[{shape}] x) => ({_type(whole)} y) <{', '.join(wanted)}> {{ {whole} }}",
        )


def _type(body: str) -> str:
    return "int64[]" if "y = ArgMax" in body else "float[]"


def _split(declarations: str) -> list[str]:
    """Declarations one by one; commas inside brackets and braces do not part them."""
    found, depth, last = [], 0, ""
    for sign in declarations:
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0:
            found.append(last.strip())
            last = ""
        else:
            last += sign
    return [*found, last.strip()] if last.strip() else found
