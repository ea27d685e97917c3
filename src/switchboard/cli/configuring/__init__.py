"""Commands that read and change the configuration: its file, or a running fleet's through the API.

May import: any room.
Never imports: http, gateway, backends.
"""
