"""Everything the authorization server keeps, in Redis.

Every worker sees a write at once: nothing is cached here. Commands that find Redis away raise `StateUnavailable`.

May import: switchboard.state, leaves.
Never imports: endpoints, http, starlette.
"""

from auth_server.store.access import AccessTokens, Issued
from auth_server.store.clients import Clients
from auth_server.store.families import Families
from auth_server.store.fetched import Fetched
from auth_server.store.records import Records
from auth_server.store.revocation import Revocation

__all__ = ["AccessTokens", "Clients", "Families", "Fetched", "Issued", "Records", "Revocation"]
