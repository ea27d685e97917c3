"""Tasks: a tool call that goes on after its request was answered, and can be asked about through any worker.

The extension `io.modelcontextprotocol/tasks` (SEP-2663, protocol version 2026-07-28). A tool says in its `_meta` that
it may run as a task; a call that is not done within a moment, or asks its client something, then becomes one. Its
state lives in Redis and every change of it is guarded: an ended task stays ended, and a task whose worker died is
ended by whichever worker reads it next. Owns the tasks running on this worker, their stored state, the three
methods and what listen streams tell of tasks. Knows no tool.

`middleware` decides what becomes a task, `running` is one while it runs, `store` keeps it, `record` is its shape,
`methods` are what clients call, `notifications` what they can listen to, `errors` what they are answered.

May import: sessions, plugins, identity, fleet, state, leaves.
Never imports: http, gateway, sessions.parking, starlette.

Spec: https://modelcontextprotocol.io/seps/2663-tasks-extension
"""

from switchboard.tasks.middleware import Tasks

__all__ = ["Tasks"]
