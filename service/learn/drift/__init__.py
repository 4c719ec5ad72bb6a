"""Drift: has the stream changed? Detectors on losses and on inputs, and what follows an alarm."""
