#!/usr/bin/env python3
"""Triton's kernels for the jobs of `npm run bench -- SUBJECT --static`, compiled for GPUs that need not be here. Nothing else needs this.

    triton_kernels.py OUT SM JOB ...    a line of JSON for each kernel: job, name, tile, cubin, threads, shared; or its error

JOB: forward, dX, dW (products of bf16 operands with a bf16 or f32 result), attention-forward-64 and -128 (by head size), the same of
attention-keys (dK and dV) and attention-queries (dQ), layernorm, softmax, cross-entropy, adamw. The tiles, warps and stages that are
tried stand in configs(); what is in OUT already is not compiled again.
"""
import json
import os
import sys

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

PRODUCTS = {"forward": (False, True), "dX": (False, False), "dW": (True, False)}  # a transposed, b transposed


@triton.jit
def place(M, N, BM: tl.constexpr, BN: tl.constexpr):
    """Program ids in groups of 8 rows of tiles."""
    pid, rows, cols = tl.program_id(0), tl.cdiv(M, BM), tl.cdiv(N, BN)
    first = pid // (8 * cols) * 8
    height = min(rows - first, 8)
    return first + pid % (8 * cols) % height, pid % (8 * cols) // height


@triton.jit
def matmul(a, b, c, M, N, K, TA: tl.constexpr, TB: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """c [M][N] = a [M][K] b [K][N], each stored so or, TA and TB, transposed."""
    pm, pn = place(M, N, BM, BN)
    rm, rn, rk = (pm * BM + tl.arange(0, BM)) % M, (pn * BN + tl.arange(0, BN)) % N, tl.arange(0, BK)
    pa = a + (rk[None, :] * M + rm[:, None] if TA else rm[:, None] * K + rk[None, :])
    pb = b + (rn[None, :] * K + rk[:, None] if TB else rk[:, None] * N + rn[None, :])
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BK)):
        x = tl.load(pa, mask=rk[None, :] < K - k * BK, other=0.0)
        y = tl.load(pb, mask=rk[:, None] < K - k * BK, other=0.0)
        acc = tl.dot(x, y, acc)
        pa += BK * M if TA else BK
        pb += BK if TB else BK * N
    rm, rn = pm * BM + tl.arange(0, BM), pn * BN + tl.arange(0, BN)
    tl.store(c + rm[:, None] * N + rn[None, :], acc.to(c.dtype.element_ty), mask=(rm[:, None] < M) & (rn[None, :] < N))


@triton.jit
def matmul_tma(a, b, c, M, N, K, TA: tl.constexpr, TB: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    pm, pn = place(M, N, BM, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BK)):
        x = a.load([k * BK, pm * BM]).T if TA else a.load([pm * BM, k * BK])
        y = b.load([pn * BN, k * BK]).T if TB else b.load([k * BK, pn * BN])
        acc = tl.dot(x, y, acc)
    c.store([pm * BM, pn * BN], acc.to(c.dtype))


@triton.jit
def layernorm(y, mean, rstd, x, w, b, C, B: tl.constexpr):
    r, c = tl.program_id(0), tl.arange(0, B)
    v = tl.load(x + r * C + c, mask=c < C, other=0.0).to(tl.float32)
    m = tl.sum(v, 0) / C
    d = tl.where(c < C, v - m, 0.0)
    s = tl.rsqrt(tl.sum(d * d, 0) / C + 1e-5)
    z = d * s * tl.load(w + c, mask=c < C).to(tl.float32) + tl.load(b + c, mask=c < C).to(tl.float32)
    tl.store(y + r * C + c, z.to(tl.bfloat16), mask=c < C)
    tl.store(mean + r, m)
    tl.store(rstd + r, s)


@triton.jit
def softmax(y, x, C, B: tl.constexpr):
    r, c = tl.program_id(0), tl.arange(0, B)
    v = tl.load(x + r * C + c, mask=c < C, other=-float("inf")).to(tl.float32)
    e = tl.exp(v - tl.max(v, 0))
    tl.store(y + r * C + c, (e / tl.sum(e, 0)).to(tl.bfloat16), mask=c < C)


@triton.jit
def cross_entropy(losses, logits, targets, scale, C, B: tl.constexpr):
    """The gradient takes the logits' place: one pass for maximum and sum, one for the gradient."""
    r, c = tl.program_id(0).to(tl.int64), tl.arange(0, B)
    target = tl.load(targets + r)
    x = logits + r * C
    high, total = tl.full((B,), -float("inf"), tl.float32), tl.zeros((B,), tl.float32)
    for i in range(0, C, B):
        v = tl.load(x + i + c, mask=i + c < C, other=-float("inf")).to(tl.float32)
        new = tl.maximum(high, v)
        total = total * tl.exp(high - new) + tl.exp(v - new)
        high = new
    top = tl.max(high, 0)
    whole = tl.sum(total * tl.exp(high - top), 0)
    tl.store(losses + r, tl.log(whole) + top - tl.load(x + target).to(tl.float32))
    tl.debug_barrier()
    for i in range(0, C, B):
        v = tl.load(x + i + c, mask=i + c < C, other=-float("inf")).to(tl.float32)
        g = (tl.exp(v - top) / whole - tl.where(i + c == target, 1.0, 0.0)) * scale
        tl.store(x + i + c, g.to(tl.bfloat16), mask=i + c < C)


@triton.jit
def adamw(p, m, v, g, copy, lr, c1, c2, decay, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    ok = i < n
    grad, x = tl.load(g + i, mask=ok), tl.load(p + i, mask=ok)
    mm = 0.9 * tl.load(m + i, mask=ok) + 0.1 * grad
    vv = 0.95 * tl.load(v + i, mask=ok) + 0.05 * grad * grad
    x = x * (1 - lr * decay) - lr * c1 * mm / (tl.sqrt(vv) * c2 + 1e-8)
    tl.store(p + i, x, mask=ok)
    tl.store(m + i, mm, mask=ok)
    tl.store(v + i, vv, mask=ok)
    tl.store(copy + i, x.to(tl.bfloat16), mask=ok)


@triton.jit
def attention(o, lse, q, k, v, T, C, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    """Causal, forward: rows of C elements, a head of D of them; whole tiles without a mask, then those on the diagonal."""
    first, h = tl.program_id(0) * BM, tl.program_id(1)
    i, d, n = first + tl.arange(0, BM), tl.arange(0, D), tl.arange(0, BN)
    x = tl.load(q + h * D + i[:, None] * C + d[None, :], mask=i[:, None] < T, other=0.0)
    keys, values = k + h * D + n[None, :] * C + d[:, None], v + h * D + n[:, None] * C + d[None, :]
    top, total = tl.full((BM,), -float("inf"), tl.float32), tl.zeros((BM,), tl.float32)
    out = tl.zeros((BM, D), tl.float32)
    scale *= 1.44269504
    for j in range(0, first, BN):
        s = tl.dot(x, tl.load(keys + j * C))
        new = tl.maximum(top, tl.max(s, 1) * scale)
        p = tl.math.exp2(s * scale - new[:, None])
        keep = tl.math.exp2(top - new)
        total = total * keep + tl.sum(p, 1)
        out = tl.dot(p.to(tl.bfloat16), tl.load(values + j * C), out * keep[:, None])
        top = new
    for j in range(first, tl.minimum(first + BM, T), BN):
        s = tl.dot(x, tl.load(keys + j * C, mask=j + n[None, :] < T, other=0.0))
        s = tl.where(j + n[None, :] <= i[:, None], s, -float("inf"))
        new = tl.maximum(top, tl.max(s, 1) * scale)
        p = tl.math.exp2(s * scale - new[:, None])
        keep = tl.math.exp2(top - new)
        total = total * keep + tl.sum(p, 1)
        out = tl.dot(p.to(tl.bfloat16), tl.load(values + j * C, mask=j + n[:, None] < T, other=0.0), out * keep[:, None])
        top = new
    tl.store(o + h * D + i[:, None] * C + d[None, :], (out / total[:, None]).to(tl.bfloat16), mask=i[:, None] < T)
    tl.store(lse + h * T + i, (top + tl.math.log2(total)) * 0.69314718, mask=i < T)


@triton.jit
def attention_keys(dk, dv, q, k, v, do, lse, delta, T, C, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    """Causal, dK and dV of BN keys: queries on the diagonal with a mask, whole tiles without, the last ones with one again."""
    first, h = tl.program_id(0) * BN, tl.program_id(1)
    n, d, m = first + tl.arange(0, BN), tl.arange(0, D), tl.arange(0, BM)
    rows = h * D + n[:, None] * C + d[None, :]
    keys = tl.load(k + rows, mask=n[:, None] < T, other=0.0)
    values = tl.load(v + rows, mask=n[:, None] < T, other=0.0)
    queries, grads = q + h * D + m[:, None] * C + d[None, :], do + h * D + m[:, None] * C + d[None, :]
    sums, deltas = lse + h * T + m, delta + h * T + m
    out_k, out_v = tl.zeros((BN, D), tl.float32), tl.zeros((BN, D), tl.float32)
    whole = T // BM * BM
    log2 = scale * 1.44269504
    for i in range(first, tl.minimum(first + BN, T), BM):
        x, g = tl.load(queries + i * C, mask=i + m[:, None] < T, other=0.0), tl.load(grads + i * C, mask=i + m[:, None] < T, other=0.0)
        p = tl.math.exp2(tl.dot(keys, x.T) * log2 - tl.load(sums + i, mask=i + m < T, other=0.0)[None, :] * 1.44269504)
        p = tl.where((n[:, None] <= i + m[None, :]) & (i + m[None, :] < T), p, 0.0)
        out_v = tl.dot(p.to(tl.bfloat16), g, out_v)
        s = p * (tl.dot(values, g.T) - tl.load(deltas + i, mask=i + m < T, other=0.0)[None, :])
        out_k = tl.dot(s.to(tl.bfloat16), x, out_k)
    for i in range(first + BN, whole, BM):
        x, g = tl.load(queries + i * C), tl.load(grads + i * C)
        p = tl.math.exp2(tl.dot(keys, x.T) * log2 - tl.load(sums + i)[None, :] * 1.44269504)
        out_v = tl.dot(p.to(tl.bfloat16), g, out_v)
        s = p * (tl.dot(values, g.T) - tl.load(deltas + i)[None, :])
        out_k = tl.dot(s.to(tl.bfloat16), x, out_k)
    if (whole < T) & (whole >= first + BN):
        i = whole
        x, g = tl.load(queries + i * C, mask=i + m[:, None] < T, other=0.0), tl.load(grads + i * C, mask=i + m[:, None] < T, other=0.0)
        p = tl.math.exp2(tl.dot(keys, x.T) * log2 - tl.load(sums + i, mask=i + m < T, other=0.0)[None, :] * 1.44269504)
        p = tl.where(i + m[None, :] < T, p, 0.0)
        out_v = tl.dot(p.to(tl.bfloat16), g, out_v)
        s = p * (tl.dot(values, g.T) - tl.load(deltas + i, mask=i + m < T, other=0.0)[None, :])
        out_k = tl.dot(s.to(tl.bfloat16), x, out_k)
    tl.store(dk + rows, (out_k * scale).to(tl.bfloat16), mask=n[:, None] < T)
    tl.store(dv + rows, out_v.to(tl.bfloat16), mask=n[:, None] < T)


@triton.jit
def attention_queries(dq, q, k, v, do, lse, delta, T, C, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    """Causal, dQ of BM queries: whole tiles of keys, then those on the diagonal."""
    first, h = tl.program_id(0) * BM, tl.program_id(1)
    i, d, n = first + tl.arange(0, BM), tl.arange(0, D), tl.arange(0, BN)
    rows = h * D + i[:, None] * C + d[None, :]
    x, g = tl.load(q + rows, mask=i[:, None] < T, other=0.0), tl.load(do + rows, mask=i[:, None] < T, other=0.0)
    keys, values = k + h * D + n[:, None] * C + d[None, :], v + h * D + n[:, None] * C + d[None, :]
    sums = tl.load(lse + h * T + i, mask=i < T, other=0.0)[:, None] * 1.44269504
    deltas = tl.load(delta + h * T + i, mask=i < T, other=0.0)[:, None]
    out = tl.zeros((BM, D), tl.float32)
    log2 = scale * 1.44269504
    for j in range(0, first, BN):
        y = tl.load(keys + j * C)
        p = tl.math.exp2(tl.dot(x, y.T) * log2 - sums)
        s = p * (tl.dot(g, tl.load(values + j * C).T) - deltas)
        out = tl.dot(s.to(tl.bfloat16), y, out)
    for j in range(first, tl.minimum(first + BM, T), BN):
        y = tl.load(keys + j * C, mask=j + n[:, None] < T, other=0.0)
        p = tl.where(j + n[None, :] <= i[:, None], tl.math.exp2(tl.dot(x, y.T) * log2 - sums), 0.0)
        s = p * (tl.dot(g, tl.load(values + j * C, mask=j + n[:, None] < T, other=0.0).T) - deltas)
        out = tl.dot(s.to(tl.bfloat16), y, out)
    tl.store(dq + rows, (out * scale).to(tl.bfloat16), mask=i[:, None] < T)


ATTENTION = {
    "forward": (attention, ("o q k v", "lse"), [(64, 32, 4, 3), (64, 64, 4, 3), (128, 32, 4, 3), (128, 64, 4, 2), (128, 64, 4, 3),
                                                (128, 64, 8, 3), (128, 128, 8, 2)]),
    "keys": (attention_keys, ("dk dv q k v do", "lse delta"), [(32, 64, 4, 2), (32, 64, 4, 3), (32, 128, 4, 2), (32, 128, 4, 3), (32, 128, 8, 3),
                                                               (64, 64, 4, 2), (64, 64, 4, 3), (64, 128, 4, 2), (64, 128, 8, 2),
                                                               (64, 128, 8, 3)]),
    "queries": (attention_queries, ("dq q k v do", "lse delta"), [(64, 32, 4, 2), (64, 32, 4, 3), (64, 64, 4, 2), (128, 32, 4, 2), (128, 32, 4, 3),
                                                                  (128, 32, 8, 3), (128, 64, 4, 2), (128, 64, 8, 2), (128, 64, 8, 3)]),
}


def kinds(bf16="", fp32="", ints="", floats=""):
    lists = (("*bf16", bf16), ("*fp32", fp32), ("i32", ints), ("fp32", floats))
    return {name: kind for kind, names in lists for name in names.split()}


def configs(job, sm):
    """(name, tile, function, signature, constants, warps, stages)"""
    if job in PRODUCTS:
        ta, tb = PRODUCTS[job]
        out = "fp32" if job == "dW" else "bf16"
        tiles = {
            80: [(64, 64, 32, 4, 4), (64, 128, 32, 4, 4), (128, 64, 32, 4, 4), (128, 128, 32, 4, 3), (128, 128, 32, 4, 4), (128, 128, 32, 8, 4),
                 (128, 128, 64, 4, 3), (128, 256, 32, 8, 3), (128, 256, 64, 8, 3), (256, 128, 32, 8, 3)],
            90: [(64, 64, 64, 4, 4), (128, 64, 64, 4, 4), (128, 128, 64, 4, 3), (128, 128, 64, 8, 3), (128, 256, 64, 8, 3), (256, 128, 64, 8, 3)],
        }
        for m, n, k, warps, stages in tiles[sm]:
            pointers = kinds("a b" if out == "fp32" else "a b c", "c" if out == "fp32" else "", "M N K")
            yield f"{m}x{n}x{k}, {warps} warps, {stages} stages", (m, n, k), matmul, pointers, dict(TA=ta, TB=tb, BM=m, BN=n, BK=k), warps, stages
        for m, n, k, warps, stages in [(128, 128, 64, 8, 3), (128, 128, 64, 8, 4), (128, 256, 64, 8, 3), (256, 128, 64, 8, 3)] if sm == 90 else []:
            boxes = dict(a=(k, m) if ta else (m, k), b=(n, k) if tb else (k, n), c=(m, n))
            tensors = {p: f"tensordesc<{out if p == 'c' else 'bf16'}[{x},{y}]>" for p, (x, y) in boxes.items()}
            name = f"{m}x{n}x{k} TMA, {warps} warps, {stages} stages"
            yield name, (m, n, k), matmul_tma, tensors | kinds(ints="M N K"), dict(TA=ta, TB=tb, BM=m, BN=n, BK=k), warps, stages
    elif job.startswith("attention-"):
        _, what, head = job.split("-")
        function, pointers, tiles = ATTENTION[what]
        for m, n, warps, stages in tiles:
            signature = kinds(*pointers, "T C", "scale")
            yield f"{m}x{n}, {warps} warps, {stages} stages", None, function, signature, dict(BM=m, BN=n, D=int(head)), warps, stages
    elif job == "layernorm":
        for warps in (2, 4, 8):
            yield f"{warps} warps", None, layernorm, kinds("y x w b", "mean rstd", "C"), dict(B=1024), warps, 2
    elif job == "softmax":
        for warps in (2, 4, 8):
            yield f"{warps} warps", None, softmax, kinds("y x", ints="C"), dict(B=1024), warps, 2
    elif job == "cross-entropy":
        for block, warps in ((1024, 4), (2048, 8), (4096, 8), (4096, 16), (8192, 16)):
            signature = kinds("logits", "losses", "C", "scale") | {"targets": "*i32"}
            yield f"{block} columns, {warps} warps", None, cross_entropy, signature, dict(B=block), warps, 2
    elif job == "adamw":
        for block, warps in ((512, 4), (1024, 4), (1024, 8), (2048, 8)):
            yield f"{block} elements, {warps} warps", None, adamw, kinds("copy", "p m v g", "n", "lr c1 c2 decay"), dict(B=block), warps, 2
    else:
        sys.exit(f"triton_kernels.py: unknown job {job}")


def build(folder, sm, job, name, tile, function, signature, constants, warps, stages):
    stem = os.path.join(folder, f"{job}.sm_{sm}.{name.replace(', ', '_').replace(' ', '-')}")
    if not os.path.exists(stem + ".json"):
        signature = {p: signature.get(p, "constexpr") for p in function.arg_names}
        aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind[0] == "*" or kind == "i32"}
        source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=aligned)
        built = triton.compile(source, target=GPUTarget("cuda", sm, 32), options=dict(num_warps=warps, num_stages=stages))
        with open(stem + ".cubin", "wb") as f:
            f.write(built.asm["cubin"])
        about = dict(job=job, name=name, tile=tile, cubin=os.path.abspath(stem + ".cubin"), threads=built.metadata.num_warps * 32,
                     shared=built.metadata.shared, version=triton.__version__)
        with open(stem + ".part", "w") as f:
            json.dump(about, f)
        os.rename(stem + ".part", stem + ".json")
    with open(stem + ".json") as f:
        return json.load(f)


def main():
    folder, sm, jobs = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    os.makedirs(folder, exist_ok=True)
    for job in jobs:
        for config in configs(job, sm):
            try:
                about = build(folder, sm, job, *config)
            except Exception as error:  # a configuration that Triton cannot compile is no candidate; say so and go on
                about = dict(job=job, name=config[0], error=(str(error).strip() or type(error).__name__).splitlines()[0])
            print(json.dumps(about), flush=True)


main()
