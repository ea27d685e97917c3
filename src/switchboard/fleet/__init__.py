"""What the workers of one fleet do together.

Owns `peers`: one call to another worker. Imports `state` and `errors`; never a session, a backend, HTTP or a setting.
"""
