"""Handshake sessions, exchanges, streams, parking."""
