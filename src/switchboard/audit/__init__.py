"""The audit log: who did what to what, why, and how it ended, never a secret.

Owns one stream in Redis with a bound and a retention, and its chains: each process authenticates what it writes and
what it wrote before, so that a missing or changed entry is seen.

May import: state, leaves.
Never imports: identity, vault, auth_server.
"""

from switchboard.audit.audit_log import AuditLog, NoAuditLog, RedisAuditLog, open_audit_log

__all__ = ["AuditLog", "NoAuditLog", "RedisAuditLog", "open_audit_log"]
