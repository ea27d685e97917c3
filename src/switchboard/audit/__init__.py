"""The audit log: who did what to what, why, and how it ended, never a secret.

Owns two streams in Redis, each with a bound and a retention: changes and uses of credentials, and calls, of which there
are so many that they would push the others out. And their chains: each process authenticates what it writes and what it
wrote before, so that a missing or changed entry is seen.

May import: state, leaves.
Never imports: identity, vault, auth_server.
"""

from switchboard.audit.audit_log import AuditLog, NoAuditLog, RedisAuditLog, open_audit_log

__all__ = ["AuditLog", "NoAuditLog", "RedisAuditLog", "open_audit_log"]
