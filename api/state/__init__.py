"""What the requests share: connections, clients and group commits.

Imports nothing else of `api`.
"""
