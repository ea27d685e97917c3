"""A whole fleet on one machine: a Redis, workers and a load balancer, each a child process with a log of its own.

`python -m tools.fleet` (which is `make fleet`) shows it to a person; the journey tests and the benchmarks stand on
the same parts. It only ever speaks to loopback addresses, and ends only the processes that it started.
"""
