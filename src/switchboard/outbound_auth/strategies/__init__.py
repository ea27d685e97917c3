"""The ways to authorize calls to a backend: a small class each, on the seam `credentials`.

| strategy | file |
|---|---|
| `service`, written down | `fixed` |
| `service`, as an OAuth client | `client_credentials` |
| `user_oauth` | `user_oauth` |
| `token_exchange`, `enterprise` | `exchanged` |
"""
