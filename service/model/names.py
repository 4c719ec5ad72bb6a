"""How fields and targets are called in the names of tensors."""

from __future__ import annotations

from service.events.schema import Bag, Dense, Table


def head_of(target: str) -> str:
    """Return how the names of a target's own weights begin."""
    return f"head/{escape(target)}/"


def label_of(field: Dense | Table | Bag) -> str:
    """Return a field's place in the names of weights: number/amount, category/shop. A text has
    two, figures/<field> for its dense inputs and text/<field> for its words."""
    kind = "figures" if isinstance(field, Dense) and field.kind == "text" else field.kind
    return f"{kind}/{escape(field.name)}"


def escape(name: str) -> str:
    """Return a field's name as one step of a tensor's name: any text, but no slash."""
    return name.replace("%", "%25").replace("/", "%2F")
