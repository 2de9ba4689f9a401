"""Guess a declaration from sampled files. Imports etl.model and the rest of etl.read.

head       the row of the header, the delimiter, names   delimiter  those of a CSV, from its rows
sample     columns of texts from files of any format     candidate  one guess, and its check
guess      the type of one column                        numbers    numbers and booleans in texts
times      dates and times in texts                      columns    all fields, nulls and the key
place      name and patterns, from the keys              block      the declaration in TOML
near       what nearly all texts of a column are         toml       texts and options in TOML
correct    what the sampled rows say of the declaration

Guesses are made only when a user asks for them, never by a run. Whatever is uncertain gets a
comment in the declaration.
"""
