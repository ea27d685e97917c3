"""Checks of `switchboard doctor`: what this machine has, and what clients get at BASE_URI. Each says what to mend.

May import: any room.
Never imports: gateway, backends.
"""
