"""How fast it is, measured against something that does nothing, in the same run.

`python -m benchmarks` from a checkout; docs/benchmarks.md says what the figures mean. Nothing here
is part of the service, and nothing of the service is changed for being measured: the processes are
those of `headwater run` and `headwater learner`, watched from outside.
"""
