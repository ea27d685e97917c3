"""What HTTP requests pass before an endpoint, and what answers pass after it.

Owns the checks before the endpoints, rate limits, and how errors become answers.

May import: clients, pages, store, leaves.
Never imports: endpoints, grants.
"""
