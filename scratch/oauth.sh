#!/usr/bin/env bash
# The whole of MCP authorization, request by request, as a client does it. Nothing but curl and a little Python for JSON.
#
#   oauth.sh [BASE_URL] [USER]      (http://localhost:3232, alice)
#
# QUIET=1 prints the access token and nothing else.
set -euo pipefail
base=${1:-http://localhost:3232}
user=${2:-alice}
callback=http://127.0.0.1:47474/callback # nobody listens there: we only read where the browser would have gone
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { [ "${QUIET:-}" = 1 ] || printf '%s\n' "$*"; }
field() { python3 -c 'import json,sys; v=json.load(sys.stdin)
for key in sys.argv[1].split("."): v = v[int(key)] if isinstance(v, list) else v[key]
print(v)' "$1"; }
from_url() { python3 -c 'import sys,urllib.parse as u; print(u.parse_qs(u.urlsplit(sys.argv[1]).query)[sys.argv[2]][0])' "$1" "$2"; }
ask() { curl -sS --max-time 20 "$@"; }

# A browser: it keeps cookies and the page it was shown last, and says where it was sent to, if anywhere.
browse() { ask -b "$work/cookies" -c "$work/cookies" -o "$work/page" -w '%{redirect_url}' "$@"; }
hidden() { sed -nE "s/.*name=\"$1\" value=\"([^\"]*)\".*/\1/p" "$work/page" | head -n 1; }
form() { # where the page's form goes
  local action
  action=$(sed -nE 's/.*<form method="post" action="([^"]*)".*/\1/p' "$work/page" | head -n 1)
  case $action in http*) echo "$action" ;; *) echo "$(sed -E 's#^(https?://[^/]+).*#\1#' <<<"$authorize")/${action#/}" ;; esac
}

say "1. A call without a token is refused, and told where to look:"
challenge=$(ask -o /dev/null -D - -X POST "$base/mcp" -H 'Content-Type: application/json' \
  -H 'Accept: application/json, text/event-stream' -d '{"jsonrpc":"2.0","id":1,"method":"ping"}' | tr -d '\r' | sed -nE 's/^www-authenticate: //ip')
say "   $challenge"

say "2. The metadata of the protected resource names its authorization server:"
metadata=$(printf '%s' "$challenge" | sed -nE 's/.*resource_metadata="([^"]*)".*/\1/p')
resource=$(ask "$metadata" | field resource)
issuer=$(ask "$metadata" | field authorization_servers.0)
say "   resource $resource, issuer $issuer"

say "3. The authorization server's own metadata (RFC 8414):"
server=$(ask "${issuer%/}/.well-known/oauth-authorization-server")
authorize=$(printf '%s' "$server" | field authorization_endpoint)
token_endpoint=$(printf '%s' "$server" | field token_endpoint)
say "   authorize at $authorize, tokens from $token_endpoint"

say "4. Registering as a public client (RFC 7591):"
client=$(ask "$(printf '%s' "$server" | field registration_endpoint)" -H 'Content-Type: application/json' \
  -d "{\"client_name\":\"oauth.sh\",\"redirect_uris\":[\"$callback\"],\"token_endpoint_auth_method\":\"none\",\"grant_types\":[\"authorization_code\",\"refresh_token\"]}" | field client_id)
say "   client_id $client"

say "5. A secret of our own and its SHA-256 (PKCE, RFC 7636), then the browser:"
read -r verifier code_challenge < <(python3 -c 'import base64,hashlib,secrets
v = secrets.token_urlsafe(48); print(v, base64.urlsafe_b64encode(hashlib.sha256(v.encode()).digest()).rstrip(b"=").decode())')
state=$(python3 -c 'import secrets; print(secrets.token_urlsafe(16))')
query=$(python3 -c 'import sys,urllib.parse as u; print(u.urlencode([tuple(a.split("=", 1)) for a in sys.argv[1:]]))' \
  response_type=code "client_id=$client" "redirect_uri=$callback" code_challenge_method=S256 \
  "code_challenge=$code_challenge" "state=$state" scope=mcp "resource=$resource")
browse "$authorize?$query" >/dev/null
[ -n "$(hidden csrf)" ] || { echo "no consent page at $authorize: $(head -c 500 "$work/page")" >&2; exit 1; }
say "   a person allows the client, on the page that names it,"
back=$(browse "$(form)" --data-urlencode "transaction=$(hidden transaction)" --data-urlencode "csrf=$(hidden csrf)" -d decision=allow)
browse "$back" >/dev/null
say "   signs in at the identity provider (the fake one only asks who they are),"
back=$(browse "$(form)" --data-urlencode "state=$(hidden state)" --data-urlencode "user_id=$user" -d decision=continue)
for _ in 1 2 3; do # and is sent back to the client, by way of the authorization server
  case $back in "$callback"*) break ;; esac
  back=$(browse "$back")
done
[ "$(from_url "$back" state)" = "$state" ] || { echo "the state did not come back" >&2; exit 1; }
[ "$(from_url "$back" iss)" = "$issuer" ] || { echo "another issuer answered" >&2; exit 1; }
say "   and comes back as $user with a code, our state, and iss"

say "6. The code for tokens:"
tokens=$(ask "$token_endpoint" -d grant_type=authorization_code --data-urlencode "code=$(from_url "$back" code)" \
  --data-urlencode "redirect_uri=$callback" -d "client_id=$client" -d "code_verifier=$verifier" --data-urlencode "resource=$resource")
access=$(printf '%s' "$tokens" | field access_token)
say "   a $(printf '%s' "$tokens" | field token_type) token for $(printf '%s' "$tokens" | field expires_in) s, scope $(printf '%s' "$tokens" | field scope)"

say "7. The refresh token for a new pair (the old one is spent):"
tokens=$(ask "$token_endpoint" -d grant_type=refresh_token --data-urlencode "refresh_token=$(printf '%s' "$tokens" | field refresh_token)" \
  -d "client_id=$client" --data-urlencode "resource=$resource")
access=$(printf '%s' "$tokens" | field access_token)
say "   done. The access token:"
echo "$access"
