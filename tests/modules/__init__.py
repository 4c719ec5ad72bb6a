"""Modules of a user's own, as tests name them in model.kind: good ones and bad ones."""
