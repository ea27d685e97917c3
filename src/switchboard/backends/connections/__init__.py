"""One connection to a backend, the pool of them, and what is said on each."""
