"""Processes that serve: one worker, a parent of several, the start screen, and how each ends.

May import: any room; the composition root at run time alone: logging must be configured before a plugin is imported.
Never imports: sessions, gateway, redis.
"""
