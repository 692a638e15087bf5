#!/usr/bin/env python3
"""PyTorch doing the jobs of bench/configs.ts, for `npm run bench -- train` where PyTorch is installed. Nothing else needs this.

    torch_train.py JOB MODE THREADS COMPUTE    then a number n a line on stdin: trains n steps, prints their times as JSON

JOB: cpu, char, gpt2. MODE: eager (default AdamW), fused (AdamW(fused=True)), compile (torch.compile and fused AdamW); COMPUTE: f32, or bf16
(autocast).
The model is a plain GPT: pre-LN, learned positions, tied head, scaled_dot_product_attention.
"""
import json
import math
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

JOBS = {  # layers, heads, width, T, B, vocabulary, bias
    "cpu": (4, 4, 128, 64, 12, 65, False),
    "char": (6, 6, 384, 256, 16, 65, False),
    "gpt2": (12, 12, 768, 256, 4, 50257, True),
}


class Block(nn.Module):
    def __init__(self, width, heads, bias):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width, bias=bias), nn.LayerNorm(width, bias=bias)
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias), nn.Linear(width, width, bias)
        self.up, self.down = nn.Linear(width, 4 * width, bias), nn.Linear(4 * width, width, bias)
        self.gelu = "tanh" if bias else "none"

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.ln2(x)), approximate=self.gelu))


class GPT(nn.Module):
    def __init__(self, layers, heads, width, context, vocab, bias):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, bias) for _ in range(layers))
        self.ln = nn.LayerNorm(width, bias=bias)
        self.head = nn.Linear(width, vocab, bias=False)
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=0.02)
                if getattr(m, "bias", None) is not None:
                    nn.init.zeros_(m.bias)
        for b in self.blocks:
            for m in (b.proj, b.down):
                nn.init.normal_(m.weight, std=0.02 / math.sqrt(2 * layers))
        self.head.weight = self.tok.weight

    def forward(self, ids, targets):
        x = self.tok(ids) + self.pos.weight[: ids.shape[1]]
        for b in self.blocks:
            x = b(x)
        return F.cross_entropy(self.head(self.ln(x)).flatten(0, 1), targets.flatten())


def matmul_gflops():
    """The best of ten products like those of GPT-2: what PyTorch's matrix library reaches on this machine."""
    a, b, c = torch.randn(1024, 768), torch.randn(3072, 768), torch.empty(1024, 3072)
    best = math.inf
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, b.T, out=c)
        best = min(best, time.perf_counter() - start)
    return 2e-9 * 1024 * 3072 * 768 / best


def main():
    job, mode, threads, compute = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(threads)
    torch.manual_seed(1337)
    layers, heads, width, T, B, vocab, bias = JOBS[job]
    model = GPT(layers, heads, width, T, vocab, bias)
    params = list(model.parameters())
    groups = [dict(params=[p for p in params if p.ndim > 1], weight_decay=0.1), dict(params=[p for p in params if p.ndim < 2], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=mode != "eager")
    net = torch.compile(model) if mode == "compile" else model
    ids = torch.randint(vocab, (8, B, T + 1))
    count = 0

    def step():
        nonlocal count
        x = ids[count % 8]
        count += 1
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=compute == "bf16"):
            loss = net(x[:, :-1], x[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        return (time.perf_counter() - start) * 1e3, value

    start = time.perf_counter()
    first = step()
    start_s = time.perf_counter() - start
    step()
    print(json.dumps(dict(start_s=start_s, loss=first[1], params=sum(p.numel() for p in params), version=torch.__version__, matmul_gflops=matmul_gflops())), flush=True)
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        rows = [step()[0] for _ in range(int(line))]
        share = (time.process_time() - cpu) / (time.perf_counter() - wall) / threads
        print(json.dumps(dict(rows=rows, cpu=share, rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)), flush=True)


main()
