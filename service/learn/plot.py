"""Draw the curve of an evaluation. Needs the extra `evaluate` (matplotlib)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service.errors import HeadwaterError

_FIRST = {"binary": "accuracy", "multiclass": "accuracy", "number": "mae"}


def draw(result: dict[str, Any], path: Path) -> None:
    """Write a PNG: one panel per target, its main metric over rows beside the two baselines."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise HeadwaterError(
            "drawing needs matplotlib: pip install 'headwater[evaluate]'"
        ) from None
    mpl.use("Agg")
    from matplotlib.figure import Figure

    targets = result["targets"]
    figure = Figure(figsize=(8, 3 * len(targets)), layout="constrained")
    panels = figure.subplots(len(targets), squeeze=False)
    for panel, (name, report) in zip(panels[:, 0], targets.items(), strict=True):
        metric = _FIRST[report["type"]]
        points = [(p["rows"], p[name][metric]) for p in result["curve"]]
        panel.plot([x for x, _ in points], [y for _, y in points], label="model")
        for baseline, style in (("no_change", "--"), ("prior", ":")):
            value = report["baselines"][baseline][metric]
            if value is None:
                continue
            panel.axhline(value, linestyle=style, color="grey", label=baseline.replace("_", " "))
        panel.set_title(f"{name}: {metric} so far")
        panel.set_xlabel("rows")
        panel.legend()
    figure.savefig(path, dpi=120)
