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
        for table in [*self.tables.values(), *self.bags.values()]:
            nn.init.normal_(table.weight, std=0.05)
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
