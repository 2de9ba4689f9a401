"""The routes, one module per resource.

It may import every package of `api` except `server`.
"""
