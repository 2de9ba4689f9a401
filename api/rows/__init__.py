"""Query users and encode the rows: fields, filters, statements, formats, streaming.

It may import `http` and `state`.
"""
