"""What a release consists of, checked as those who get it would: `python -m tools.release`.

`artefacts` finds and installs what `make build` and `make binary` wrote into dist/; `trial` starts one of them in an
empty folder and calls it.
"""
