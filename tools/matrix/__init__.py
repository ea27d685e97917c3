"""Client by backend by feature: what passes through the gateway, seen by official clients.

`features` is the table of what is tried, `versatile` the server that has all of it, `diary` lets every kind of client
live at every kind of backend, `table` is how docs/gateway.md shows what came of it. The tests of
`tests/backends/test_matrix.py` read the diary; `make matrix` has them write the table.
"""
