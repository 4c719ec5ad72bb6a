"""Experts: small learners that all see the same inputs of a row, and the mixture that weighs them."""
