#!/usr/bin/env bash
# What a person does in the browser, by curl: allow the client, then be somebody at the fake identity provider.
#
#   sign_in.sh AUTHORIZE_URL [USER]
#
# Prints the address that the browser is sent back to, with the code in it. With DELIVER=1 it also goes there, as a
# browser would: so it can stand in for one (BROWSER=…) where a client listens on a loopback port.
set -euo pipefail
url=${1:?usage: sign_in.sh AUTHORIZE_URL [USER]}
user=${2:-${SIGN_IN_AS:-alice}}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
origin=$(printf '%s' "$url" | sed -E 's#^(https?://[^/]+).*#\1#')

# A page's text goes to $work/page; what is printed is where it wants to send the browser, if anywhere.
browse() { curl -sS --max-time 20 -b "$work/jar" -c "$work/jar" -o "$work/page" -w '%{redirect_url}' "$@"; }
hidden() { sed -nE "s/.*name=\"$1\" value=\"([^\"]*)\".*/\1/p" "$work/page" | head -n 1; }
action() { sed -nE 's/.*<form method="post" action="([^"]*)".*/\1/p' "$work/page" | head -n 1; }
words() { sed '/<style>/,/<\/style>/d; /<script>/,/<\/script>/d; s/<[^>]*>//g; /^[[:space:]]*$/d' "$work/page" >&2; }
absolute() { case $1 in http*) printf '%s' "$1" ;; /*) printf '%s%s' "$origin" "$1" ;; *) printf '%s/%s' "$origin" "$1" ;; esac; }

next=$(browse "$url")
consent=$(absolute "$(action)")
[ -n "$(hidden csrf)" ] || { echo "no consent page at $url (sent to: ${next:-nowhere})" >&2; words; exit 1; }

next=$(browse "$consent" --data-urlencode "transaction=$(hidden transaction)" --data-urlencode "csrf=$(hidden csrf)" -d decision=allow)
browse "$next" >/dev/null
next=$(browse "$(absolute "$(action)")" --data-urlencode "state=$(hidden state)" --data-urlencode "user_id=$user" -d decision=continue)

# Through our own callback and back to the client, wherever it listens.
for _ in 1 2 3; do
  case $next in "$origin"/*) next=$(browse "$next") ;; *) break ;; esac
done
[ -n "$next" ] || { echo "the sign-in ended without a redirect" >&2; words; exit 1; }
echo "$next"
[ "${DELIVER:-}" != 1 ] || curl -sS --max-time 20 -o /dev/null "$next"
