#!/usr/bin/env bash
# A session of the handshake era by curl: initialize, call, and end it. Every request may be served by another worker.
#
#   handshake.sh [BASE_URL]         TOKEN=… saves signing in
set -euo pipefail
base=${1:-http://localhost:3232}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
token=${TOKEN:-$(QUIET=1 "$here/oauth.sh" "$base")}
version=2025-11-25
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

post() { # BODY [CURL OPTION…]
  local body=$1
  shift
  curl -sS --max-time 30 -D "$work/head" -X POST "$base/mcp" -H "Authorization: Bearer $token" \
    -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' "$@" -d "$body"
}

echo "--> initialize"
post "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"$version\",\"capabilities\":{},\"clientInfo\":{\"name\":\"handshake.sh\",\"version\":\"1\"}}}"
session=$(tr -d '\r' <"$work/head" | sed -nE 's/^mcp-session-id: //ip')
[ -n "$session" ] || { echo "no session was made" >&2; exit 1; }
printf '\n    the session: %s\n' "$session"
in_session=(-H "Mcp-Session-Id: $session" -H "MCP-Protocol-Version: $version")

echo "--> notifications/initialized"
post '{"jsonrpc":"2.0","method":"notifications/initialized"}' "${in_session[@]}" -o /dev/null -w '%{http_code}\n'

echo "--> tools/call echo: a short answer is plain JSON"
post '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}' "${in_session[@]}"

printf '\n--> tools/call longRunningOperation with progress: the answer becomes a stream\n'
post '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"longRunningOperation","arguments":{"duration":1.5,"steps":3},"_meta":{"progressToken":"p1"}}}' -N "${in_session[@]}"

printf '\n--> tools/call whoami, three times: behind a load balancer the worker changes, the session does not\n'
for id in 4 5 6; do
  post "{\"jsonrpc\":\"2.0\",\"id\":$id,\"method\":\"tools/call\",\"params\":{\"name\":\"whoami\",\"arguments\":{}}}" "${in_session[@]}" |
    python3 -c 'import json,sys; me = json.load(sys.stdin)["result"]["structuredContent"]; print("   ", me["subject"], "in", me["session"], "served by", me["worker"])'
done

echo "--> DELETE ends the session; after it the answer is 404"
curl -sS --max-time 30 -o /dev/null -w '%{http_code}\n' -X DELETE "$base/mcp" -H "Authorization: Bearer $token" "${in_session[@]}"
post '{"jsonrpc":"2.0","id":7,"method":"ping"}' "${in_session[@]}" -o /dev/null -w '%{http_code}\n'
