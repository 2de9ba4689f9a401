"""From a query to rows in a format: fields, filters, statements, streaming.

May import `http` and `state`.
"""
