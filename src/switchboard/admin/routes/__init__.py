"""The API's routes, a file for each thing that there is; `admin` says what a room of routes stands on.

Each has `routes(administration)`, which gives its router.
"""
