"""The official conformance suite against two workers that take strict turns: what `make conformance` runs.

`runs` is the table of what is run and how many scenarios each run must have; `issuer` has those for authorization
servers, and is the browser that they wait for; `suite` starts the suite and `results`
reads what it found; `front` is the loopback proxy that pins an older wire or brings a token; `turns` proves from the
balancer's log that neither worker was left out; `report` prints the table.

`issuer` and `client` run the suite's scenarios for authorization servers, and those for clients on the gateway's own
upstream client, which `upstream` starts.
"""
