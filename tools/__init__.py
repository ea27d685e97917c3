"""What tests, checks and benchmarks of this repository stand on; no part of the product, and not in its wheel.

`fleet` runs workers, Redis and a load balancer as child processes; `chaos` breaks such a fleet under load and accounts
for what was lost; `conformance` runs the official suite; `matrix` tries every client at every backend; `lab` drives
clients of others through the authorization lab; `release` starts what is released where there is nothing else;
`reference` writes docs/configuration.md, and the tables of docs/lab.md.
"""
