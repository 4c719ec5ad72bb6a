"""A bank of small nets, written plainly: what the compiled passes are held against."""

from __future__ import annotations

import numpy as np

from service.model.experts.nets import SHARE
from service.model.experts.nets_pass import SPAN
from service.model.experts.nets_step import HUBER


class PlainBank:
    """One bank in float64, one net after another: what the compiled passes must give."""

    def __init__(self, held, bank, rates, once, task, d):
        at = held.at
        first = at[f"{bank}_first"].astype(float)
        self.task, self.rates, self.d = task, rates, d
        self.repeating = len(rates) - once
        self.nets = []
        for k in range(len(rates)):
            w = first[: d + 1, 32 * k : 32 * (k + 1)].copy()
            c = at[f"{bank}_bias"].shape[0]
            self.nets.append(
                {"w": w, "v": np.zeros((c, 32)), "b": np.zeros(c), "slope2": np.zeros(32),
                 "hidden2": np.zeros(32), "out2": np.zeros(c)}
            )  # fmt: skip
        self.in2 = np.zeros(d)
        self.compared = np.zeros((len(rates), 3))

    def forward(self, net, x):
        hidden = np.maximum(np.concatenate([[1.0], x]) @ net["w"], 0.0)
        z = net["v"] @ hidden + net["b"]
        if self.task.kind == "binary":
            return hidden, 1 / (1 + np.exp(-z))
        if self.task.kind == "multiclass":
            return hidden, np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        return hidden, z

    def judged(self, out, y):
        if self.task.kind == "binary":
            e = out - y
            return e, -np.log(out[0] if y else 1 - out[0]), out[0] * (1 - out[0])
        if self.task.kind == "multiclass":
            e = out - np.eye(len(out))[int(y)]
            return e, -np.log(out[int(y)]), (e * e * out).sum() / (e * e).sum()
        e = out[0] - y
        loss = abs(e) - HUBER / 2 if abs(e) > HUBER else e * e / 2 / HUBER
        return np.clip([e], -HUBER, HUBER), loss, 1.0

    def step(self, x, y, weight, rate, again):
        most, losses = 1 / np.sqrt(rate), []
        if not again:
            self.in2 += rate * (x * x - self.in2)
        ones = np.concatenate([[1.0], np.maximum(self.in2, 1e-16)])
        one_x = np.concatenate([[1.0], x])
        u = np.clip(one_x / np.sqrt(ones), -most, most)
        for k, (net, speed) in enumerate(zip(self.nets, self.rates, strict=True)):
            if again and k >= self.repeating:
                continue
            hidden, out = self.forward(net, x)
            e, loss, bend = self.judged(out, y)
            losses.append(loss)
            slope = (e @ net["v"]) * (hidden > 0)
            if not again:
                for name, value in (("slope2", slope), ("hidden2", hidden), ("out2", e)):
                    net[name] += rate * (value * value - net[name])
            s, h, g = (
                np.clip(value / np.sqrt(np.maximum(net[name], 1e-16)), -most, most)
                for name, value in (("slope2", slope), ("hidden2", hidden), ("out2", e))
            )
            moves = (slope * s).sum() * (one_x * u).sum() + (e * g).sum() * ((hidden * h).sum() + 1)
            full = speed * weight * (SHARE if again else 1.0)
            by = full / (1 + full * moves / max((e * e).sum(), 1e-12) * bend)
            net["v"] -= by * np.outer(g, h)
            net["b"] -= by * g
            net["w"] -= by * np.outer(u, s)
        return losses

    def hand_down(self, losses):
        pairs = [k for k in range(len(self.nets) - 1) if k != self.repeating - 1]
        for k in pairs:
            c = self.compared[k]
            c[2] += 1
            rate = max(1 / c[2], 1 / SPAN)
            delta = losses[k] - losses[k + 1] - c[0]
            c[0] += rate * delta
            c[1] = (1 - rate) * (c[1] + rate * delta * delta)
        for k in pairs:
            mean, var, n = self.compared[k]
            if n >= 16 and mean > 2 * np.sqrt(var / min(n, SPAN)):
                self.nets[k] = {name: v.copy() for name, v in self.nets[k + 1].items()}
                self.compared[k] = 0
