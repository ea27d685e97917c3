"""`switchboard connect URL`: a remote server for clients that speak only stdio.

`command` has the options. `stdio` is this process's standard streams, `bridge` passes messages between them and the
server, `header_mirroring` knows the HTTP headers that a message wants. Below, `web` is the HTTP client: it waits for a
server that is away, and turns what goes wrong into an answer; `signin` gets tokens by the browser and keeps them fresh,
`callback` hears what the browser brings back, `token_store` is the file that tokens are kept in.

May import `backends` for what it knows of the wire. Nothing but protocol goes to standard output.
"""
