"""One module per noun: the routes and their answers.

May import every other package of `api` but `server`.
"""
