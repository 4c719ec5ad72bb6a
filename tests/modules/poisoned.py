"""Modules that keep the rules until they meet certain events."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.modules.nets import Net


class Speechless(Exception):
    """Fails when it is asked what it is about."""

    def __str__(self) -> str:
        """Fail."""
        raise ValueError("no words")


def _leave(_: Tensor) -> None:
    raise SystemExit(0)


class Poisoned(Net):
    """Fails where a number, as it is scaled, is beyond `beyond`: as `how` says."""

    def __init__(
        self, inputs: Any, outputs: Any, how: str, beyond: float = 1.0, field: str = "amount"
    ) -> None:
        super().__init__(inputs, outputs, size=2, hidden=6)
        self.how, self.beyond, self.field = how, beyond, field

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return [N, outputs], or what is asked for."""
        outs = super().forward(batch)
        bad = batch[self.field][:, 0] > self.beyond
        if not bool(bad.any()):
            return outs
        if self.how == "raises":
            raise ValueError("an amount that I cannot take")
        if self.how == "exits":
            raise SystemExit(0)
        if self.how == "exits backward":
            if outs.requires_grad:
                outs.register_hook(_leave)
            return outs
        if self.how == "says nothing":
            raise Speechless
        if self.how == "wrong shape":
            return outs[:, :1]
        return torch.where(bad[:, None], torch.nan, outs)


class Huge(Net):
    """Says enormous things of large amounts."""

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Return [N, outputs]."""
        return super().forward(batch) * (1.0 + 1e12 * (batch["amount"][:, :1] > 1.0))


class Counting(Net):
    """Counts large amounts in a buffer, which no trial sees."""

    seen: Tensor

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs, size=2, hidden=6)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Return [N, outputs]."""
        if bool((batch["amount"][:, 0] > 2.5).any()):
            self.seen.add_(1.0)
        return super().forward(batch)
