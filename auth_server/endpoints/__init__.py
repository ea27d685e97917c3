"""One endpoint a file: parse the request once, ask the store or a grant, answer in the RFC's terms.

An endpoint never catches what `http.error_middleware` maps to an answer.

May import: authorization, clients, grants, http, jwt, pages, shared, leaves.
Never imports: app, store, redis.
"""
