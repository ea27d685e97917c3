"""Rules about going on: what a right client does after an answer that is not the one it hoped for."""

from __future__ import annotations

from collections.abc import Sequence

from switchboard.lab.hops import Hop, Place
from switchboard.lab.rules.judging import Decide, Finding, at, calls, missing


def served(hops: Sequence[Hop], ended: bool) -> Finding:
    """A tool is called with a token, and answered."""
    if found := calls(hops):
        return "met", found[-1], "a tool was called with the token"
    return (
        missing(ended, hops[-1], "no tool was called with a token") if hops else ("not_seen", None, "nothing was asked")
    )


def falls_back(*places: Place) -> Decide:
    """A tool is called with a token; a client that asked nothing at `places` does not know this fallback.

    Later revisions do not have it: who stops there has not tried.
    """

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        return served(hops, ended) if at(hops, *places) else ("not_seen", None, "no issuer was looked for at the host")

    return decide


def asks_without_header(hops: Sequence[Hop], ended: bool) -> Finding:
    """A document whose preflight was refused is asked for without one, and a tool is called with a token."""
    for hop in hops:
        if hop.method == "OPTIONS" and not _asked_after(hops, hop):
            return missing(ended, hop, f"after the preflight was refused, {hop.path} was not asked for")
    return served(hops, ended)


def _asked_after(hops: Sequence[Hop], refused: Hop) -> bool:
    later = [hop for hop in hops if hop.number > refused.number]
    return any(hop.method == "GET" and hop.path == refused.path for hop in later)


def refreshes(hops: Sequence[Hop], ended: bool) -> Finding:
    """A token that has ended is refreshed, and the person is not asked again."""
    for position, hop in enumerate(hops):
        if not _token_refused(hop):
            continue
        for later in at(hops[position + 1 :], Place.TOKENS, Place.AUTHORIZE):
            if later.sent.get("grant_type") == "refresh_token" and later.status == 200:
                return _used(hops, later, ended, "the expired token was refreshed")
            if later.place is Place.AUTHORIZE:
                return "broken", later, "the person was asked again, though there was a refresh token"
        return missing(ended, hop, "it was not refreshed after the 401")
    for hop in at(hops, Place.TOKENS):
        if hop.sent.get("grant_type") == "refresh_token" and hop.status == 200:
            return _used(hops, hop, ended, "the token was refreshed before it expired")
    return "not_seen", None, "no token expired"


def _used(hops: Sequence[Hop], refreshed: Hop, ended: bool, why: str) -> Finding:
    """Whether the new token was used."""
    given = refreshed.answered.get("access_token")
    used = any(hop.number > refreshed.number and hop.sent.get("token") == given for hop in at(hops, Place.MCP))
    return ("met", refreshed, why) if used else missing(ended, refreshed, "the new token was not used")


def authorizes_again(hops: Sequence[Hop], ended: bool) -> Finding:
    """A token that has ended, and cannot be refreshed, is asked for anew, and a tool is called with it."""
    for position, hop in enumerate(hops):
        refused = hop.place is Place.TOKENS and hop.sent.get("grant_type") == "refresh_token" and hop.status >= 400
        if not refused and not _token_refused(hop):
            continue
        later = hops[position + 1 :]
        asked = at(later, Place.AUTHORIZE)
        if not asked:
            return missing(ended, hop, "no authorization was asked for after that")
        after = [each for each in calls(later) if each.number > asked[0].number]
        return (
            ("met", after[0], "it was authorized again")
            if after
            else missing(ended, asked[0], "no tool was called after")
        )
    asked = at(hops, Place.AUTHORIZE)
    after = [each for each in calls(hops) if each.number > asked[-1].number] if len(asked) > 1 else []
    if after:
        return "met", after[0], "it was authorized again before the token was refused"
    return "not_seen", None, "no token ended"


def comes_back(hops: Sequence[Hop], ended: bool) -> Finding:
    """After a 401 in mid-session a new token is had, by refresh or by asking again, and a tool is called with it."""
    for position, hop in enumerate(hops):
        if _token_refused(hop):
            after = [each for each in calls(hops[position + 1 :]) if each.sent["token"] != hop.sent["token"]]
            return ("met", after[0], "a new token was used") if after else missing(ended, hop, "no new token was used")
    return "not_seen", None, "no token was refused"


def steps_up(least: int) -> Decide:
    """Each of so many challenges is followed by an authorization for its scopes, and the last by a call."""

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        challenges = [hop for hop in at(hops, Place.MCP) if hop.answered.get("error") == "insufficient_scope"]
        asked: Sequence[Hop] = ()
        for hop in challenges:
            needed = set(hop.answered.get("scope", "").split())
            asked = [each for each in at(hops, Place.AUTHORIZE) if each.number > hop.number]
            if not asked:
                return missing(ended, hop, "no authorization was asked for after insufficient_scope")
            if lacking := needed - set(asked[0].sent.get("scope", "").split()):
                return "broken", asked[0], f"scope lacks {' '.join(sorted(lacking))}"
        if len(challenges) < least:
            return "not_seen", None, f"{len(challenges)} of {least} requests needed another scope"
        last = challenges[-1]
        after = [
            hop
            for hop in at(hops, Place.MCP)
            if hop.number > asked[0].number and hop.status == 200 and _same(hop, last)
        ]
        return (
            ("met", asked[0], "asked for the challenged scopes")
            if after
            else missing(ended, asked[0], "the request was not repeated")
        )

    return decide


def extension(grant: str) -> Decide:
    """A token is asked for by this grant, and a tool is called with it; who does not know the grant has not tried."""

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        asked = [hop for hop in at(hops, Place.TOKENS) if hop.sent.get("grant_type") == grant]
        return served(hops, ended) if asked else ("not_seen", None, f"no token was asked for by {grant}")

    return decide


def company_decides(hops: Sequence[Hop], ended: bool) -> Finding:
    """An ID-JAG is asked for, exchanged for a token, and a tool is called with it; the person is not asked.

    A client that never comes to the company's provider, nor has an assertion of it, does not know the extension, and
    has not tried.
    """
    company = [hop for hop in hops if hop.place is Place.COMPANY or hop.sent.get("grant_type", "").startswith("urn:")]
    if not company:
        return "not_seen", None, "the company's provider was not asked"
    if asked := at(hops, Place.AUTHORIZE):
        return "broken", asked[0], "the person was asked at the issuer, though the company decides"
    for hop in at(hops, Place.COMPANY, Place.TOKENS):
        if hop.sent.get("grant_type", "").startswith("urn:") and hop.status >= 400:
            return "broken", hop, hop.answered.get("error_description", "the exchange was refused")
    return served(hops, ended)


def keeps_scopes(hops: Sequence[Hop], ended: bool) -> Finding:
    """After a challenge that names the missing scope alone, it is asked for beside those of the token before."""
    had: set[str] = set()
    for hop in at(hops, Place.AUTHORIZE, Place.MCP):
        if hop.answered.get("error") == "insufficient_scope" and hop.place is Place.MCP:
            later = [each for each in at(hops, Place.AUTHORIZE) if each.number > hop.number]
            if not later:
                return missing(ended, hop, "no authorization was asked for after insufficient_scope")
            wanted = had | set(hop.answered.get("scope", "").split())
            if lacking := wanted - set(later[0].sent.get("scope", "").split()):
                return "broken", later[0], f"scope lacks {' '.join(sorted(lacking))}"
            return "met", later[0], "asked for what it had, and for the challenged scope"
        if hop.place is Place.AUTHORIZE:
            had = set(hop.sent.get("scope", "").split())
    return "not_seen", None, "no request needed another scope"


def resumes(hops: Sequence[Hop], ended: bool) -> Finding:
    """A stream is resumed; where its token is refused, with another one."""
    asked = [hop for hop in at(hops, Place.MCP) if hop.method == "GET" and hop.sent.get("last-event-id")]
    good = [hop for hop in asked if hop.status == 200]
    if good:
        return "met", good[0], "the stream was resumed with a new token"
    return (
        missing(ended, asked[0], "the stream was not resumed") if asked else ("not_seen", None, "no stream was resumed")
    )


def _same(hop: Hop, other: Hop) -> bool:
    """Whether both are the same request of MCP."""
    return all(hop.sent.get(name) == other.sent.get(name) for name in ("method", "tool"))


def waits(hops: Sequence[Hop], ended: bool) -> Finding:
    """After 429 the token endpoint is not asked before the time that Retry-After says (RFC 9110 §10.2.3)."""
    for position, hop in enumerate(hops):
        if hop.place is Place.TOKENS and hop.status == 429:
            earliest = hop.at + float(hop.answered.get("retry-after", 0))
            later = at(hops[position + 1 :], Place.TOKENS)
            if later and later[0].at < earliest:
                return "broken", later[0], f"asked again {earliest - later[0].at:.1f} s too early"
            if later:
                return "met", later[0], "asked again when it was time"
            return ("met", hop, "did not ask again") if ended else ("not_seen", hop, "so far: did not ask again")
    return "not_seen", None, "the token endpoint was not asked"


def _token_refused(hop: Hop) -> bool:
    return hop.place is Place.MCP and hop.status == 401 and bool(hop.sent.get("token"))
