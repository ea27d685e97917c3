"""Servers from the files of other programs, as rows of ours."""
