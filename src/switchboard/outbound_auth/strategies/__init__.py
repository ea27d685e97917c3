"""The ways to authorize calls to a backend: a small class each, on the seam `credentials`.

`fixed` is a credential of the gateway's own that is written down.
"""
