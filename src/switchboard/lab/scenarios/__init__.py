"""The scenarios of the authorization lab: a table, a row each, and what its rows differ in.

Owns no behaviour: the issuer and the resource act on the `Behaviour` of a row.

May import: lab.rules.
Never imports: lab.issuer, lab.runs, state, http.
"""

from switchboard.lab.scenarios.model import Behaviour, Scenario
from switchboard.lab.scenarios.table import BY_NAME, SCENARIOS

__all__ = ["BY_NAME", "SCENARIOS", "Behaviour", "Scenario"]
