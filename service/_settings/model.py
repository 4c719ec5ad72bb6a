"""The settings that say what is learned."""

from __future__ import annotations

from pydantic import Field

from service._settings.event import Section
from service._settings.module import EXPERTS, MIXTURES, Argument, ModelKind, PretrainedSettings


class ModelSettings(Section):
    """What is learned."""

    kind: ModelKind = Field(
        "auto",
        description="auto (a mixture of experts; the same as mixture in this release), linear, svm "
        "(hinge loss; classes only), mlp (one hidden layer), fm (factorization machine), rls "
        "(recursive least squares; numbers only), mixture, one expert of the mixture alone ("
        + ", ".join(EXPERTS)
        + "), or package.module:Class: a torch.nn.Module of your own.",
    )
    arguments: dict[str, Argument] = Field(
        default_factory=dict,
        description="A module of your own: what its constructor is given, by name.",
    )
    pretrained: PretrainedSettings | None = Field(
        None, description="What a new model starts from; null: fresh weights."
    )
    hidden: int = Field(64, ge=1, le=4096, description="mlp: width of the hidden layer, in units.")
    embedding: int = Field(
        8, ge=1, le=512, description="mlp: numbers that stand for one category, in numbers."
    )
    layer_norm: bool = Field(
        False, description="mlp: bring the hidden sums of an event to mean 0 and variance 1."
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="mlp: share of hidden units that are left out while an event is learned, as a "
        "share; predictions use all.",
    )
    factors: int = Field(
        8, ge=1, le=256, description="fm: numbers that stand for one input, for each output."
    )
    width: int = Field(
        256,
        ge=2,
        le=2048,
        description="rls: most inputs, in numbers; names are hashed into those that the dense "
        "inputs leave. Time and memory grow with its square.",
    )
    forgetting: float = Field(
        0.999,
        gt=0,
        le=1,
        description="rls: what an event counts less with each later one; .999 remembers about "
        "1,000 events, 1 all of them.",
    )

    @property
    def is_module(self) -> bool:
        """Whether it is a module of the user's own."""
        return ":" in self.kind

    @property
    def is_mixture(self) -> bool:
        """Whether it is a mixture of experts, or one of them."""
        return self.kind in MIXTURES
