"""The SDK's own server with the tools of `tools`, and nothing else: `sdk_server.py json|sse PORT`, or `… stdio`.

`json` and `sse` are its two ways to answer a POST. Sessions are in memory. It runs on uvicorn with uvloop and
httptools, without an access log.
"""

from __future__ import annotations

import sys

import uvicorn

from scratch.bench.programs.tools import server


def main(kind: str, port: int) -> None:
    """Serve until stopped."""
    if kind == "stdio":
        server().run("stdio")
        return
    app = server().streamable_http_app(json_response=kind == "json", max_sessions=None)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], int((*sys.argv, "0")[2]) if sys.argv[1] != "stdio" else 0)
