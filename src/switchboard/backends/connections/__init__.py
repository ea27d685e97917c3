"""Connections to a backend on this worker: which there are, who may have one, and what is said on each.

* `pool` keeps them, one for each `connection_key`; `connection_quota` counts those of the fleet, `connection_leases`
  says which worker has a child
* `connection` is one of them; `handshake` agrees with the backend on version and session; `transport` is what it is
  opened on
* `protocol` is JSON-RPC both ways; `notification_order` keeps a result behind the notifications that came before it
* `inflight` knows the calls on a connection; `inbound` gives them the requests and notifications of the backend;
  `roots` answers `roots/list` between calls too, and `roots_changes` tells backends that a client's roots changed
* `leniency` and `empty_objects` read answers that are not written quite as the protocol has them

Opens no process and no socket: transports come as a callable. Knows nothing of offers.
"""
