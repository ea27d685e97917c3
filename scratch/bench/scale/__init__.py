"""Beyond this machine: what each kind of call costs Redis (`cost`), many workers' traffic replayed at one Redis
(`replay`), and docs/limits.md, which does the arithmetic (`limits`).
"""
