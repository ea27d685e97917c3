"""The one table of keys, channels and lifetimes.

Session rows carry the session id as a Redis Cluster hash tag, so that everything of one session lives in one slot
and a script may touch all of it. The authorization server keeps its own table beside its store.

| key or channel | kind | holds | lives |
|---|---|---|---|
| `session:{sid}` | hash | owner, protocol version, client params, log level | SESSION_TTL and a tenth, sliding |
| `sessions:<digest>` | sorted set | the ids of one owner's sessions, by when each would end | 2 SESSION_TTL, sliding |
| `sessions` | sorted set | the ids of all sessions, once an operator looked at them | eleven minutes |
| `sessions:whole` | string | that all are in it | ten minutes |
| `streams:<digest>` | hash | how many streams one owner has open, by worker | a day |
| `session:{sid}:subscriptions` | set | subscribed resource URIs | as the record |
| `mcp:shttp:toserver:{sid}` | pub/sub | wakes the worker that waits for an answer, or must see a cancellation | - |
| `mcp:inbox:{sid}:<id>` | string | the slot for an answer: made by the asker, filled once | as the wait |
| `mcp:cancel:{sid}` | sorted set | digests of requests cancelled before their commit, by when | COMMIT_GRACE |
| `mcp:shttp:toclient:{sid}:<stream>` | pub/sub | wakes the follower of a stream | - |
| `mcp:events:{sid}:<stream>` | stream | the frames, all of them | bounded, as the record |
| `mcp:exchange:{sid}:<stream>` | string | `worker:epoch` of a reply that became a stream, or `done` | LEASE, renewed |
| `mcp:peer:<version>:<worker>` | pub/sub | frames of calls that the worker serves or makes | - |
| `mcp:peer:call:<id>` | string | which worker began the call, or that its caller gave it up before | 60 s |
| `mcp:task:{task}` | hash | owner, worker, status, outcome of a task | its time to live, and a minute |
| `mcp:task:{task}:asks`, `:answers` | hash | questions that are open, answers to those that were | as the task |
| `mcp:tasks` | sorted set | the ids of all tasks, each after when it is forgotten (ms) | as the tasks |
| `mcp:task:{task}:changes` | pub/sub | wakes the worker that runs the task, and streams that tell of it | - |
| `mcp:line:{tag}:<backend>:<client>` | string | `worker:epoch` that has a child | LEASE, renewed |
| `mcp:line:{tag}:<name>:<client>:had` | string | that there was such a child | LINE_LIFE, sliding |
| `mcp:line:{tag}:<backend>:<client>:upstream` | string | the session at an HTTP backend | LINE_LIFE, sliding |
| `mcp:line:{tag}:<backend>:<client>:making` | string | `worker:epoch` that opens that session | LEASE, renewed |
| `mcp:line:{tag}:<backend>:<client>:listening` | string | `worker:epoch` that has its GET stream | LEASE, renewed |
| `mcp:line:{tag}:<backend>:<client>:seen` | string | the last event id on that stream | LINE_LIFE, sliding |
| `mcp:line:{tag}:<backend>:<client>:heard` | pub/sub | what came on it, for every worker | - |
| `mcp:line:{tag}:<backend>:<client>:took:<id>` | string | the worker that deals with it | LEASE |
| `mcp:room:{<backend>}` | sorted set | open connections of the fleet | LEASE, renewed |
| `mcp:room:{<backend>}:<user>` | sorted set | those of one person | LEASE, renewed |
| `mcp:room:{<backend>}:wanted` | pub/sub | "end an idle connection" | - |
| `mcp:upstreams:<backend>` | sorted set | sessions at an HTTP backend, by when each was used last | as LINE_LIFE |
| `mcp:offer:{<backend>:<digest>}` | string, pub/sub | what a backend offered last; news of that | OFFER_LIFE |
| `mcp:offer:{<backend>:<digest>}:lead` | string | `worker:epoch` that asks what it offers | LEASE, renewed |
| `mcp:links:{<digest>}` | hash | links that one owner was given, by digest: backend and URI | LINKS_LIFE, sliding |
| `mcp:links:{<digest>}:order` | sorted set | in which order they were given | LINKS_LIFE, sliding |
| `mcp:bus` | pub/sub | change notices for listen streams and standalone streams | - |
| `mcp:roots` | pub/sub | whose roots changed | - |
| `account:<kind>:{<hash>}` | string | a browser's session, or its way to a provider; sealed | 12 h, 10 min |
| `mcp:connected` | pub/sub | who connected to a backend or plugin with an account of their own, or disconnected | - |
| `mcp:config` | hash | the configuration's overlay: `removed`, `stated`, `revision`, and what it `was:<revision>` | - |
| `mcp:config:changed` | pub/sub | "read the overlay again" | - |
| `vault:namespaces` | set | the namespaces in which there were credentials | - |
| `vault:{<namespace>}:owners` | set | who has credentials there | - |
| `vault:{<namespace>}:<digest>` | hash | one owner's credentials by name, encrypted | each as it says |
| `mcp:lock:<digest>` | string | `worker:epoch` that does what one worker at a time may do | LEASE, renewed |
| `audit` | stream | who did what to what, why, and how it ended | AUDIT_ENTRIES, AUDIT_DAYS |
| `audit:calls` | stream | who called which tool, or read what, and how it ended | AUDIT_CALL_ENTRIES, AUDIT_DAYS |
| `api:idempotency:<digest>` | string | what a POST with an idempotency key was answered | a day |
| `lab:{<run>}:<scenario>` | stream | what a client did in a scenario of the authorization lab | a day |
| `lab:{<run>}` | hash | a run of the lab: when it was made, whether it allows by itself, how clients ended | a day |
| `lab:newest` | list | the newest runs | a day |
| `lab:runs` | string | how many runs were made | a day |
| `lab:origin` | hash | the run and scenario that have the lab's own origin | HELD_S of `lab/holding.py` after use |
| `lab:changed:<run>:<scenario>` | string | how often an issuer of the lab changed its key | a day |
| `lab:used:<id>` | string | that a code or refresh token of the lab was used | a day |
| `worker:<id>` | hash | heartbeat: version, started | LEASE, renewed |
| `workers:left` | sorted set | the ids of workers that ended as they were told to, by when | a minute |
| `rate:<quota>:<key>` | string | when the bucket of an address or principal is full again (GCRA) | until then |
| `barrier:{tag}` | string | nothing: a write after which replicas are waited for | 1 s |
| `fingerprint` | string | which SECRET_KEY ring this fleet uses | - |
"""

from __future__ import annotations

from dataclasses import dataclass

COMMIT_GRACE_MS = 30_000
"""How long a cancellation waits for the exchange it names to look it up."""

PEER_CALL_MS = 60_000
"""How long it is remembered whether a call to another worker began."""

LINE_LIFE_MS = 3_600_000
"""How long it is remembered that a backend's line was there, or is resumed."""

OFFER_LIFE_MS = 7 * 24 * 3_600_000
"""How long it is remembered what a backend offered."""

LINKS_LIFE_MS = 24 * 3_600_000
"""How long links that a backend gave can be read after the last one was given."""

MAX_CANCELLED = 256
"""Cancellations that wait in one session; of more, the oldest are given up."""

MAX_FRAMES = 1_000
"""Frames kept for replay in one stream."""

STANDALONE = "s"
"""The name of a session's standalone stream; minted names are longer."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of everything in Redis, under an optional prefix for shared servers."""

    prefix: str = ""

    def lab_hops(self, run: str, scenario: str) -> str:
        return f"{self.prefix}lab:{{{run}}}:{scenario}"

    def lab_run(self, run: str) -> str:
        return f"{self.prefix}lab:{{{run}}}"

    def lab_newest(self) -> str:
        return f"{self.prefix}lab:newest"

    def lab_runs(self) -> str:
        return f"{self.prefix}lab:runs"

    def lab_origin(self) -> str:
        return f"{self.prefix}lab:origin"

    def lab_changed(self, run: str, scenario: str) -> str:
        return f"{self.prefix}lab:changed:{run}:{scenario}"

    def lab_used(self, token_id: str) -> str:
        return f"{self.prefix}lab:used:{token_id}"

    def session(self, sid: str) -> str:
        return f"{self.prefix}session:{{{sid}}}"

    def owned(self, digest: str) -> str:
        return f"{self.prefix}sessions:{digest}"

    def session_index(self) -> str:
        return f"{self.prefix}sessions"

    def session_index_whole(self) -> str:
        return f"{self.prefix}sessions:whole"

    def held(self, digest: str) -> str:
        return f"{self.prefix}streams:{digest}"

    def subscriptions(self, sid: str) -> str:
        return f"{self.prefix}session:{{{sid}}}:subscriptions"

    def to_server(self, sid: str) -> str:
        return f"{self.prefix}mcp:shttp:toserver:{{{sid}}}"

    def to_client(self, sid: str, stream: str) -> str:
        return f"{self.prefix}mcp:shttp:toclient:{{{sid}}}:{stream}"

    def inbox(self, sid: str, request: str) -> str:
        return f"{self.prefix}mcp:inbox:{{{sid}}}:{request}"

    def cancel(self, sid: str) -> str:
        return f"{self.prefix}mcp:cancel:{{{sid}}}"

    def events(self, sid: str, stream: str) -> str:
        return f"{self.prefix}mcp:events:{{{sid}}}:{stream}"

    def exchange(self, sid: str, stream: str) -> str:
        return f"{self.prefix}mcp:exchange:{{{sid}}}:{stream}"

    def peer(self, protocol: int, worker: str) -> str:
        return f"{self.prefix}mcp:peer:{protocol}:{worker}"

    def peer_call(self, call: str) -> str:
        return f"{self.prefix}mcp:peer:call:{call}"

    def task(self, task: str) -> str:
        return f"{self.prefix}mcp:task:{{{task}}}"

    def tasks(self) -> str:
        return f"{self.prefix}mcp:tasks"

    def task_asks(self, task: str) -> str:
        return f"{self.prefix}mcp:task:{{{task}}}:asks"

    def task_answers(self, task: str) -> str:
        return f"{self.prefix}mcp:task:{{{task}}}:answers"

    def task_changes(self, task: str) -> str:
        return f"{self.prefix}mcp:task:{{{task}}}:changes"

    def line(self, tag: str, backend: str, client: str) -> str:
        return f"{self.prefix}mcp:line:{{{tag}}}:{backend}:{client}"

    def line_had(self, tag: str, backend: str, client: str) -> str:
        return f"{self.line(tag, backend, client)}:had"

    def line_upstream(self, tag: str, backend: str, client: str) -> str:
        return f"{self.line(tag, backend, client)}:upstream"

    def line_making(self, tag: str, backend: str, client: str) -> str:
        return f"{self.line(tag, backend, client)}:making"

    def line_listening(self, tag: str, backend: str, client: str) -> str:
        return f"{self.line(tag, backend, client)}:listening"

    def line_seen(self, tag: str, backend: str, client: str) -> str:
        return f"{self.line(tag, backend, client)}:seen"

    def line_heard(self, tag: str, backend: str, client: str) -> str:
        return f"{self.line(tag, backend, client)}:heard"

    def line_took(self, tag: str, backend: str, client: str, item: str) -> str:
        return f"{self.line(tag, backend, client)}:took:{item}"

    def room(self, backend: str) -> str:
        return f"{self.prefix}mcp:room:{{{backend}}}"

    def room_of(self, backend: str, user: str) -> str:
        return f"{self.room(backend)}:{user or '-'}"

    def room_wanted(self, backend: str) -> str:
        return f"{self.room(backend)}:wanted"

    def upstreams(self, backend: str) -> str:
        return f"{self.prefix}mcp:upstreams:{backend}"

    def offer(self, backend: str, digest: str) -> str:
        return f"{self.prefix}mcp:offer:{{{backend}:{digest}}}"

    def offer_lead(self, backend: str, digest: str) -> str:
        return f"{self.offer(backend, digest)}:lead"

    def links(self, digest: str) -> str:
        return f"{self.prefix}mcp:links:{{{digest}}}"

    def links_order(self, digest: str) -> str:
        return f"{self.links(digest)}:order"

    def bus(self) -> str:
        return f"{self.prefix}mcp:bus"

    def roots_changed(self) -> str:
        return f"{self.prefix}mcp:roots"

    def account(self, kind: str, digest: str) -> str:
        return f"{self.prefix}account:{kind}:{{{digest}}}"

    def connected(self) -> str:
        return f"{self.prefix}mcp:connected"

    def overlay(self) -> str:
        return f"{self.prefix}mcp:config"

    def overlay_changed(self) -> str:
        return f"{self.prefix}mcp:config:changed"

    def vault_namespaces(self) -> str:
        return f"{self.prefix}vault:namespaces"

    def vault_owners(self, tag: str) -> str:
        return f"{self.prefix}vault:{{{tag}}}:owners"

    def vault_records(self, tag: str, digest: str) -> str:
        return f"{self.prefix}vault:{{{tag}}}:{digest}"

    def lock(self, digest: str) -> str:
        return f"{self.prefix}mcp:lock:{digest}"

    def audit(self) -> str:
        return f"{self.prefix}audit"

    def audited_calls(self) -> str:
        return f"{self.prefix}audit:calls"

    def idempotency(self, digest: str) -> str:
        return f"{self.prefix}api:idempotency:{digest}"

    def worker(self, worker: str) -> str:
        return f"{self.prefix}worker:{worker}"

    def workers_left(self) -> str:
        return f"{self.prefix}workers:left"

    def fingerprint(self) -> str:
        return f"{self.prefix}fingerprint"
