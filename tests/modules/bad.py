"""Modules that break a rule each: the name of a class says which."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from typing import Any

import torch
from torch import Tensor, nn


class Good(nn.Module):
    """One linear layer over the dense inputs; the others change one thing about it."""

    def __init__(self, inputs: dict[str, dict[str, Any]], outputs: dict[str, int]) -> None:
        super().__init__()
        self.names = [name for name, one in inputs.items() if one["form"] == "dense"]
        width = sum(inputs[name]["width"] for name in self.names)
        self.out = nn.Linear(width, sum(outputs.values()))

    def dense(self, batch: dict[str, Any]) -> Tensor:
        """Return all dense inputs [N, width]."""
        return torch.cat([batch[name] for name in self.names], dim=1)

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return [N, outputs]."""
        return self.out(self.dense(batch))


class NoModule:
    """Is none."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        """Take what a module would."""


class WantsMore(Good):
    """Needs an argument that nobody gives."""

    def __init__(self, inputs: Any, outputs: Any, size: int) -> None:
        super().__init__(inputs, outputs)


class Raises(Good):
    """Cannot take a single row."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Fail."""
        raise ValueError("no rows today")


class Misshapen(Good):
    """Returns too few dimensions."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return [N]."""
        return super().forward(batch)[:, 0]


class OtherTargets(Good):
    """Names targets that nobody asked for."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return a dict."""
        return {"price": super().forward(batch)}


class Double(Good):
    """Computes in float64."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.double()


class NotFinite(Good):
    """Divides by what may be zero."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return infinities."""
        return super().forward(batch) / 0.0


class Chance(Good):
    """Rolls dice where it should predict."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return something else each time."""
        return super().forward(batch) + torch.rand(1)


class OwnChance(Good):
    """Has dice of its own in training."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return something else each time."""
        return super().forward(batch) * (random.random() if self.training else 1.0)


class Company(Good):
    """Compares an event with those beside it."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return what depends on the batch."""
        outs = super().forward(batch)
        return outs - outs.mean(dim=0)


class BatchNorm(Good):
    """Keeps running statistics."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.norm = nn.BatchNorm1d(self.out.in_features)

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return outputs of what was normalised."""
        return self.out(self.norm(self.dense(batch)))


class WritesWeights(Good):
    """Trims its weights as it goes."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Write."""
        with torch.no_grad():
            self.out.weight.mul_(0.5)
        return super().forward(batch)


class WritesTheSame(Good):
    """Writes into its weights what is there: nothing shows, until memory cannot be written."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Write."""
        with torch.no_grad():
            self.out.weight.copy_(self.out.weight.clone())
        return super().forward(batch)


class WritesInputs(Good):
    """Fills in missing values in place."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Write."""
        batch[self.names[0]] += 1.0
        return super().forward(batch)


class NoGradient(Good):
    """Forgets how it came to its outputs."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return outputs without a past."""
        return super().forward(batch).detach()


class OtherEachTime(Good):
    """Starts from dice of its own."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        nn.init.constant_(self.out.weight, random.random())


class MaxNorm(Good):
    """Has an embedding that trims itself."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.table = nn.Embedding(8, 2, max_norm=1.0)


class Hidden(Good):
    """Keeps its layers where torch does not look."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.layers = [nn.Linear(2, 2)]


class Unsaved(Good):
    """Depends on a number that is in no state."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.factor = 1.0 + random.random()

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return what another process would not."""
        return super().forward(batch) * self.factor


class Idle(Good):
    """Has weights that nothing depends on."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.idle = nn.Linear(2, 2)


class Exits(Good):
    """Ends the process, with a code that says that all is well."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return nothing, ever."""
        sys.exit(0)


class Remembers(Good):
    """Keeps in an attribute what it saw while it learned."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.mean = 0.0

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return what depends on it."""
        dense = self.dense(batch)
        if self.training:
            self.mean = float(dense.mean())
        return self.out(dense - self.mean)


class Nested(Good):
    """Keeps a layer where neither torch nor a look at its attributes finds it."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.layers = [[nn.Linear(self.out.in_features, self.out.in_features)]]

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return outputs of it."""
        return self.out(self.layers[0][0](self.dense(batch)))


class Lambda(Good):
    """Reaches its layer through a lambda, which a copy of the module shares with it."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.call = lambda dense: self.out(dense)

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return outputs of the module that was copied."""
        return self.call(self.dense(batch))


class Talks(Good):
    """Breaks no rule: it prints, without end of line, and has an attribute that has no end."""

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.numbers = itertools.count()

    def forward(self, batch: dict[str, Any]) -> Any:
        """Write."""
        sys.stdout.write("{")
        return super().forward(batch)


class Fickle(Good):
    """Keeps the rules until it sees an event with 666: then what it returns has another shape, with
    667 it ends the process."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return outputs, or something else."""
        dense, outs = self.dense(batch), super().forward(batch)
        if bool((dense == 667.0).any()):
            sys.exit(7)
        return outs[:, :0] if bool((dense == 666.0).any()) else outs


class Shared(Good):
    """One layer gives the outputs of two targets."""

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return outputs of one width."""
        dense = self.dense(batch)
        return {"price": self.one(dense), "fraud": self.one(dense)}

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__(inputs, outputs)
        self.one = nn.Linear(self.out.in_features, 1)
        nn.init.zeros_(self.one.weight)
        nn.init.zeros_(self.one.bias)


class Killer(Good):
    """Dies of events whose x is 666, whoever handles them; of 667 only where it is not on trial.

    HEADWATER_TEST_KILLER names other values than 666.
    """

    def forward(self, batch: dict[str, Any]) -> Any:
        """Return outputs, or never."""
        said = os.environ.get("HEADWATER_TEST_KILLER", "666")  # noqa: TID251 - the suite's own name
        deadly = [float(x) for x in said.split(",") if x]
        deadly += [] if "probe" in sys.argv else [667.0]
        if bool(torch.isclose(batch["x"][:, :1], torch.tensor(deadly)).any()):
            signal.raise_signal(signal.SIGSEGV)
        return super().forward(batch)
