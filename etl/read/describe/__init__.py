"""Guess a declaration from sampled files. Imports etl.model and the rest of etl.read.

sample   columns of texts from objects of any format     notes    words of the comments
guess    the field of one column                          numbers  numbers and booleans in texts
times    dates and times in texts                         columns  all fields, missing values, keys
block    the declaration in TOML

Guesses are made only when a user asks for them, never by a run. Whatever is uncertain gets a
comment in the declaration.
"""
