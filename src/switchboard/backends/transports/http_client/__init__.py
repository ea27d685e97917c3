"""HTTP/1.1 to the servers of one backend, over connections that stay open.

* `connection`: one connection and the answer that is read on it; httptools parses
* `connecting`: opens sockets, and TLS on them
* `client`: connections by origin, and which of them may be used again
* `adapter`: the same as a transport of httpx2

Why not httpx2's own connections: they take seventeen times as much of a processor for each call, and passing calls on
is what a gateway is for. Proxies stay with it (`endpoints`). Knows nothing of JSON-RPC or MCP.
"""

from switchboard.backends.transports.http_client.client import HttpClient, Target, header_lines
from switchboard.backends.transports.http_client.connection import Answer, Headers, Timeouts

__all__ = ["Answer", "Headers", "HttpClient", "Target", "Timeouts", "header_lines"]
