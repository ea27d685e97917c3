"""Try what `make build` and `make binary` wrote into dist/, and tell what it did.

    python -m tools.release [wheel] [uvx] [binary]

Each is started in a folder that was empty, with an environment of PATH and HOME alone (uvx: and what reaches packages).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tools.fleet.children import NotReady
from tools.fleet.redis_server import start_redis
from tools.release.artefacts import Way, as_one_file, as_uvx, binary, in_environment, wheel
from tools.release.trial import TrialFailed, tried

WAYS: Final[Mapping[str, Callable[[Path], Way]]] = {
    "wheel": lambda folder: in_environment(wheel(), folder / "venv"),
    "uvx": lambda _: as_uvx(wheel()),
    "binary": lambda _: as_one_file(binary()),
}


def main() -> int:
    """Try them in turn; 1 when one did not do what it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", choices=[*WAYS, []], metavar="way", help=", ".join(WAYS))
    wanted = parser.parse_args().ways or list(WAYS)
    failed = False
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = start_redis(folder)
        if redis.child:
            stack.callback(redis.child.stop)
        for name in wanted:
            try:
                for line in tried(WAYS[name](folder / name), folder / name, redis.url):
                    print(f"{name:7} {line}", flush=True)
            except (TrialFailed, NotReady, FileNotFoundError) as fault:
                failed = True
                print(f"{name:7} FAILED: {fault}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
