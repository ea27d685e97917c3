"""Traces of real calls: a collector in memory, two workers with a backend between them, and a picture of one trace."""
