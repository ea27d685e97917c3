"""All scenarios, by what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from switchboard.lab.scenarios.answering import ANSWERING
from switchboard.lab.scenarios.discovering import DISCOVERING
from switchboard.lab.scenarios.habits import HABITS
from switchboard.lab.scenarios.model import Scenario
from switchboard.lab.scenarios.reaching import REACHING
from switchboard.lab.scenarios.registering import REGISTERING

SCENARIOS: Final[Sequence[Scenario]] = (*DISCOVERING, *REGISTERING, *ANSWERING, *HABITS, *REACHING)

BY_NAME: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in SCENARIOS}
