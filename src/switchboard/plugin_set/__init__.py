"""The plugins of one worker, put together from the configuration: part of the composition root.

`configured` keeps them and makes them anew; `processes` are those with a process of their own, which are backends, too;
`credentials` has what they use of the vault and of OAuth providers.

May import: settings, gateway, plugins, backends, backend_configs, config, identity, outbound_auth, vault, leaves.
Never imports: servers, assembly, sessions, http.
"""

from switchboard.plugin_set.configured import ConfiguredPlugin, ConfiguredPlugins
from switchboard.plugin_set.credentials import PluginCredentials
from switchboard.plugin_set.processes import IsolatedPlugin, PluginProcesses

__all__ = ["ConfiguredPlugin", "ConfiguredPlugins", "IsolatedPlugin", "PluginCredentials", "PluginProcesses"]
