"""What happened: counters and latencies in memory, the last minutes, and `/metrics`; spans for OpenTelemetry.

Rooms tell `metrics` what happened, or count for themselves, and the composition root hands in what reads it. Worker
processes of a host keep their numbers in files of one folder, so that whichever is asked tells the sum of all.

May import: leaves.
Never imports: redis, mcp.

It never has a label whose value a client could invent: methods are those of MCP, providers those that are configured.
"""
