"""The scenarios of the authorization lab: a table, a row each, and what its rows differ in.

Owns no behaviour: the issuer and the resource act on the `Behaviour` of a row.

May import: lab.rules.
Never imports: lab.issuer, lab.runs, state, http.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from switchboard.lab.scenarios.answering import ANSWERING
from switchboard.lab.scenarios.discovering import DISCOVERING
from switchboard.lab.scenarios.habits import HABITS
from switchboard.lab.scenarios.model import Behaviour, Scenario
from switchboard.lab.scenarios.reaching import REACHING
from switchboard.lab.scenarios.registering import REGISTERING

__all__ = ["BY_NAME", "SCENARIOS", "Behaviour", "Scenario"]

SCENARIOS: Final[Sequence[Scenario]] = (*DISCOVERING, *REGISTERING, *ANSWERING, *HABITS, *REACHING)

BY_NAME: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in SCENARIOS}
