"""The REST API under `/api`: what an operator sees and changes, for the whole fleet, with a document of its types.

Owns the routes, who may use them, paging, entity tags and idempotency keys. What it shows and does is given to it as
`Administration`; it changes the configuration through the fleet's overlay alone.

May import: audit, catalog, config, fleet, identity, outbound_auth, plugins.credentials, sessions, sources,
state, tasks, vault, leaves.
Never imports: http, gateway, backends, plugins.api, auth_server.
"""
