"""The same model and training in PyTorch: `python examples/characters_gpt/in_pytorch.py`.

It starts from the generated module's parameters and takes the same batches, on one thread, without a compiler. It needs
PyTorch: `pip install '.[bench]'`.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for shakespeare.py

import shakespeare
from shakespeare import BATCH_SIZE, ITERATIONS

from derivgen import runtime

REPORT = 100  # iterations between two lines of progress
CLASSES, STEPS, FEATURES, HEADS, BLOCKS = 65, 64, 128, 4, 4
RATE, LAST_RATE, WARM_UP, DECAY = 1e-3, 1e-4, 100, 1900


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(FEATURES, bias=False)
        self.query_key_value = nn.Linear(FEATURES, 3 * FEATURES, bias=False)
        self.attention = nn.Linear(FEATURES, FEATURES, bias=False)
        self.norm2 = nn.LayerNorm(FEATURES, bias=False)
        self.dense1 = nn.Linear(FEATURES, 4 * FEATURES, bias=False)
        self.dense2 = nn.Linear(4 * FEATURES, FEATURES, bias=False)

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        batch, steps, _ = a.shape
        parts = self.query_key_value(self.norm1(a)).split(FEATURES, dim=2)
        query, key, value = (part.view(batch, steps, HEADS, FEATURES // HEADS).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        a = a + self.attention(mixed.transpose(1, 2).reshape(a.shape))
        return a + self.dense2(F.gelu(self.dense1(self.norm2(a))))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(CLASSES, FEATURES)
        self.positions = nn.Embedding(STEPS, FEATURES)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(FEATURES, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.table(x) + self.positions.weight
        return F.linear(self.norm(self.blocks(a)), self.table.weight)

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self(x).view(-1, CLASSES), y.view(-1))


def state_dict(views: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """A generated module's parameters by PyTorch's names; weights are (out, in) there."""
    found = {"table.weight": views["table"], "positions.weight": views["positions"], "norm.weight": views["norm_gain"]}
    for k in range(BLOCKS):
        own, theirs = f"block{k + 1}", f"blocks.{k}"
        parts = [views[f"{own}_{part}_W"].reshape(FEATURES, FEATURES) for part in ("query", "key", "value")]
        found[f"{theirs}.query_key_value.weight"] = np.concatenate(parts, axis=1).T
        found[f"{theirs}.attention.weight"] = views[f"{own}_attention_W"].reshape(FEATURES, FEATURES).T
        for part in ("dense1", "dense2"):
            found[f"{theirs}.{part}.weight"] = views[f"{own}_{part}_W"].T
        for part in ("norm1", "norm2"):
            found[f"{theirs}.{part}.weight"] = views[f"{own}_{part}_gain"]
    return {name: torch.tensor(value) for name, value in found.items()}


def rate_factor(step: int) -> float:
    """The learning rate of a step, from 0, divided by RATE: up in equal steps, then down by half a cosine."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return (LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * (step - WARM_UP) / DECAY)) / 2) / RATE


def main(iterations: int = ITERATIONS, progress: bool = True) -> float:
    """The mean loss of a held-out character, in nats; prints it, and the time of training."""
    torch.set_num_threads(1)
    module = runtime.load(Path(__file__).with_name("characters_gpt_kernels.py"))
    text = shakespeare.read(STEPS, iterations)
    x, y = (torch.tensor(text.training[name]).split(BATCH_SIZE) for name in ("x", "y"))
    model = GPT()
    model.load_state_dict(state_dict(module.views(module.initial_parameters())))
    matrices = [p for p in model.parameters() if p.dim() == 2]
    gains = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor)

    start, losses = time.process_time(), []
    for step in range(iterations):
        optimizer.zero_grad()
        loss = model.loss(x[step], y[step])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if progress and len(losses) % REPORT == 0:
            mean = sum(losses[-REPORT:]) / REPORT
            print(f"iteration {step + 1}: training loss {mean:.3f}, {time.process_time() - start:.1f} s", flush=True)
    seconds = time.process_time() - start

    with torch.no_grad():
        rows = zip(*(torch.tensor(text.held_out[name]).split(BATCH_SIZE) for name in ("x", "y")), strict=True)
        held_out = sum(len(x) * model.loss(x, y).item() for x, y in rows) / len(text.held_out["x"])
    print(f"held-out loss: {held_out:.3f} after {iterations} iterations, {seconds:.1f} s of processor time")
    return held_out


if __name__ == "__main__":
    main()
