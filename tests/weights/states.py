"""States for the tests: small ones with every type and shape that is kept."""

from __future__ import annotations

import torch

LINEAGE = "0a1b2c3d-4e5f"


def parts(version: int) -> dict[str, dict[str, torch.Tensor]]:
    """A state whose weights and optimizer change with the version; its metrics do not."""
    return {
        "weights": {
            "head/y/bias": torch.tensor([float(version)]),
            "head/y/category/m": torch.arange(12, dtype=torch.float32).reshape(4, 3) + version,
        },
        "optimizer": {
            "steps/y": torch.tensor(version, dtype=torch.int64),
            "nothing": torch.empty((0, 3), dtype=torch.float32),
        },
        "metrics": {
            "sums": torch.tensor([0.1, 0.2], dtype=torch.float64),
            "flags": torch.tensor([1, 0, 255], dtype=torch.uint8),
        },
    }


def meta(version: int, lineage: str = LINEAGE) -> dict[str, object]:
    """What a learner says of that state."""
    return {"version": version, "lineage": lineage, "offsets": {"payments": {"0": version * 10}}}


def same(one: dict[str, dict[str, torch.Tensor]], two: dict[str, dict[str, torch.Tensor]]) -> bool:
    """Whether two states are equal to the bit."""
    return one.keys() == two.keys() and all(
        one[p].keys() == two[p].keys()
        and all(torch.equal(t, two[p][n]) and t.dtype == two[p][n].dtype for n, t in one[p].items())
        for p in one
    )
