"""A plugin in a process of its own: an MCP server on stdio, which the gateway calls as it calls any child.

`child` is what runs there, in a `sandbox`: it sees its own code, the Python that runs it and a folder of its own, none
of the gateway's secrets, and neither signals nor reads another process. `channel` is the socket between the two, over
which the child gets its configuration and uses its credentials; `parent` is the gateway's end of it.

May import: plugins, config, identity, vault, outbound_auth, leaves.
Never imports: sessions, http, backends.
"""
