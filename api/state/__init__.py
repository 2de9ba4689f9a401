"""State that requests share: connections, clients and group commits.

It may not import other packages of `api`.
"""
