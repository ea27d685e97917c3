"""The configuration file: read once, validated, frozen.

Owns its shape (`model`), `${VAR}` expansion (`expansion`) and reading it (`files`). May import `errors`; knows no
plugin, no environment setting and no other room: the environment to expand from is handed in.
"""

from switchboard.config.files import read
from switchboard.config.model import BUILT_IN, Configuration, PluginSection, Prefix

__all__ = ["BUILT_IN", "Configuration", "PluginSection", "Prefix", "read"]
