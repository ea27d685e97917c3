#!/usr/bin/env bash
# A call of the modern era (2026-07-28) by curl: no session, everything is in the request. A question comes back as
# `inputRequired`, and the answer goes with the same request again, to whichever worker is next.
#
#   modern.sh [BASE_URL]            TOKEN=… saves signing in
set -euo pipefail
base=${1:-http://localhost:3232}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
token=${TOKEN:-$(QUIET=1 "$here/oauth.sh" "$base")}
version=2026-07-28
meta="\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"$version\",\"io.modelcontextprotocol/clientInfo\":{\"name\":\"modern.sh\",\"version\":\"1\"},\"io.modelcontextprotocol/clientCapabilities\":{\"elicitation\":{\"form\":{}}}}"

post() { # METHOD NAME PARAMS
  curl -sS --max-time 30 -X POST "$base/mcp" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
    -H 'Accept: application/json, text/event-stream' -H "MCP-Protocol-Version: $version" -H "Mcp-Method: $1" \
    ${2:+-H "Mcp-Name: $2"} -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":{$3$meta}}" | sed -E 's/^data: //; /^(event|id|retry|:)/d; /^$/d'
}

echo "--> server/discover"
post server/discover '' ''
printf '\n--> tools/call echo\n'
post tools/call echo '"name":"echo","arguments":{"message":"hello"},'
printf '\n--> tools/call multiRoundTrip: the server has a question\n'
round=$(post tools/call multiRoundTrip '"name":"multiRoundTrip","arguments":{},')
echo "$round"
for answer in '{"city":"Oslo"}' '{"nights":3}'; do
  echo "--> the same call with the answer $answer"
  retry=$(ANSWER=$answer python3 -c 'import json,os,sys
result = json.load(sys.stdin)["result"]
responses = {key: {"action": "accept", "content": json.loads(os.environ["ANSWER"])} for key in result["inputRequests"]}
print(json.dumps({"inputResponses": responses, "requestState": result["requestState"]})[1:-1] + ",")' <<<"$round")
  round=$(post tools/call multiRoundTrip "\"name\":\"multiRoundTrip\",\"arguments\":{},$retry")
  echo "$round"
done
