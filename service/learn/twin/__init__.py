"""The frozen twin: what learning is worth, as a figure. Beside the state, never part of it."""
