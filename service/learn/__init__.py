"""How it learns: the loop, the learner, recovery. Imports stream, model and weights."""
