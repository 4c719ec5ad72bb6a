"""Guess what the columns of a sample are: types, id, time, target, and what to leave out.

Knows rows and values; knows no file, no model, no YAML. Every guess carries its reason. What is
guessed can be used: a type is only proposed where every value of the sample can be read as it.
"""
