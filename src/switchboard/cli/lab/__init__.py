"""`switchboard lab`: drives a client through the scenarios of the authorization lab, and tells the verdict.

Owns the client's processes, their folders and what stands in for a browser. What a client did is judged by the server;
here is only added how each ended.

May import: cli, common, errors, settings, aio.
Never imports: lab, state.
"""
