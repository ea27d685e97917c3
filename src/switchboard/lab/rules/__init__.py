"""The rules of the authorization lab: what a client met, broke, or had no occasion for, in one scenario.

Owns the rules' texts and sources, and the functions that decide them from the requests that were recorded. Asks nothing
and keeps nothing.

May import: lab.hops.
Never imports: lab.issuer, lab.runs, state, http.
"""

from switchboard.lab.rules.judging import Judgement, Rule, State, Verdict, judge, verdict
from switchboard.lab.rules.table import RULES

__all__ = ["RULES", "Judgement", "Rule", "State", "Verdict", "judge", "verdict"]
