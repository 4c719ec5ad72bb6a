"""Modules that keep the rules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Dense inputs, and an embedding of each table and bag, through one hidden layer."""

    def __init__(
        self, inputs: dict[str, dict[str, Any]], outputs: dict[str, int], size: int = 16,
        hidden: int = 32, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        dense = {name: one["width"] for name, one in inputs.items() if one["form"] == "dense"}
        tables = {name: one["rows"] for name, one in inputs.items() if one["form"] == "table"}
        bags = {name: one["rows"] for name, one in inputs.items() if one["form"] == "bag"}
        self.dense = list(dense)
        self.tables = nn.ModuleDict({n: nn.Embedding(rows, size) for n, rows in tables.items()})
        self.bags = nn.ModuleDict(
            {n: nn.EmbeddingBag(rows, size, mode="sum") for n, rows in bags.items()}
        )
        for weight in self.parameters():  # of embeddings: there is nothing else yet
            nn.init.normal_(weight, std=0.05)
        width = sum(dense.values()) + size * (len(tables) + len(bags))
        self.hidden = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, sum(outputs.values()))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Return [N, outputs]."""
        parts = [batch[name] for name in self.dense]
        parts += [table(batch[name]) for name, table in self.tables.items()]
        for name, bag in self.bags.items():
            entries, offsets, values = batch[name]
            parts.append(bag(entries, offsets, per_sample_weights=values))
        return self.out(self.dropout(torch.relu(self.hidden(torch.cat(parts, dim=1)))))


class Root(Net):
    """Takes the root of an input: finite at nothing, with a slope that is not."""

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Return [N, outputs]."""
        given = dict(batch)
        name = self.dense[-1]
        weight = self.out.weight[:1, :1]
        given[name] = torch.cat(
            [(batch[name][:, :1] * weight.abs()).clamp(min=0.0).sqrt(), batch[name][:, 1:]], dim=1
        )
        return super().forward(given)


class Shifted(Net):
    """Does something to its outputs after the last layer."""

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Return [N, outputs]."""
        return super().forward(batch) * 1.5


class WithBuffers(Net):
    """Has constants beside its weights."""

    gain: Tensor
    mask: Tensor
    loose: Tensor

    def __init__(self, inputs: dict[str, dict[str, Any]], outputs: dict[str, int]) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("gain", torch.linspace(0.5, 1.5, sum(outputs.values())))
        self.register_buffer("mask", torch.ones(sum(outputs.values()), dtype=torch.bool))
        self.register_buffer("loose", torch.zeros(1), persistent=False)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Return [N, outputs]."""
        return super().forward(batch) * self.gain * self.mask + self.loose
