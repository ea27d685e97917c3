"""Pages for people: the templates, the cookies of a browser, and the page about a sign-in that does not work.

Owns what the pages of this server say; how they look is `switchboard.common.pages`.

May import: store, leaves.
Never imports: endpoints, grants.
"""

from pathlib import Path
from typing import Final

TEMPLATES: Final = Path(__file__).parent / "templates"
