"""Clients of others, driven through all scenarios of the authorization lab; what came of it stands in docs/lab.md.

Each driver is a command that takes the URL of an endpoint: it connects, lists the tools, calls `read`, `write` and
`ping_back`, does so again after each of the `LAB_PAUSES` (seconds, with commas between), and ends with 0 if all of that
was served, else with 1. It opens a browser by `$BROWSER`, and keeps what it keeps below `$HOME`. What `switchboard lab
run` tells it in `LAB_…` it passes on to its client, where that can be told (`calls.Told`).

`drivers` is the table of them, `clients` the script that runs them, `results` what it writes and how docs/lab.md shows
it.
"""
