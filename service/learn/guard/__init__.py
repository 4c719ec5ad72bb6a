"""Guarded learning: is what is learned fit to be served, and what if not. Knows no files, no Kafka.

`watch` and `canary` raise an alarm, `trial` compares the frozen version with the shadow on fresh
events, `judge` says what follows. Whatever follows is journaled by the acts, so a replay never
asks the guard again.
"""
