"""Commands for whoever uses a server from a terminal: tell a client of it, list and call its tools, wait for it.

May import: any room.
Never imports: sessions, gateway, backends.
"""
