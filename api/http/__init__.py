"""HTTP without nouns: errors, ranges, preconditions, paging, encodings, forms and bodies.

May import `state` and, of `etl`, `model`, `runtime`, `settings`, `storage` and `db`.
"""
