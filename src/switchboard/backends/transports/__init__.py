"""How a connection is carried: stdio children, Streamable HTTP of both eras, HTTP+SSE.

* `opening` opens each kind of transport for one connection
* a child: `child` is the process, `child_environment` what it gets of ours, `stdio` the calls over its pipes;
  `watchdog` and `watchdog_process` end it when the worker was killed
* HTTP: `endpoints` chooses a URL and a proxy, `http_client/` has the connections, `direct` sends requests whose answer
  is one message; for all others `http` sends below the SDK's client and tries the next URL, `answers` and `repairs`
  make of each answer a message or an error of the one request
* a session at an HTTP backend: `session_store` keeps it for all workers, `session_stream` reads its GET stream, and
  `stream_relay` passes on to the other workers what came on it
* `framing` cuts what backends write into lines, `messages` reads it

Knows no method of the protocol but those that a transport has to; forwards no call by itself.
"""
