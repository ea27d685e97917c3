"""Mutation testing: small faults put into a room's source, one at a time, to see whether a test notices.

`python -m tools.mutants ROOM --sample 20 --seed 1` changes files of the room in place, and puts each back.
"""
