"""What each plugin has of the vault and of OAuth providers, and what people find of it on their page of connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from switchboard.config import PluginSection
from switchboard.errors import ConfigurationError
from switchboard.outbound_auth.accounts import OAuthAccounts
from switchboard.outbound_auth.connectables import Connectable
from switchboard.outbound_auth.oauth_providers import OAuthProvider, preset
from switchboard.outbound_auth.outbound import Outbound
from switchboard.plugins import Plugin
from switchboard.plugins.credentials import VaultCredentials, namespace
from switchboard.vault import Vault

_KNOWN: Final = frozenset({*(each.name for each in fields(OAuthProvider)), "provider", "tenant"}) - {"name"}


@dataclass(frozen=True)
class PluginCredentials:
    """Makes them. Satisfies `switchboard.plugins.loading.MakeCredentials`."""

    vault: Vault
    outbound: Outbound

    def __call__(self, plugin: Plugin, section: PluginSection) -> VaultCredentials:
        """Where a plugin's credentials are kept, and its people's accounts.

        Raises:
            ConfigurationError: its OAuth provider cannot be used as it is described.
        """
        return VaultCredentials(plugin.name, self.vault, self._accounts(plugin, section))

    def connectable(self, plugin: Plugin, section: PluginSection) -> Connectable | None:
        """What people connect to, of a plugin with an auth requirement. Raises as the call does."""
        if plugin.auth is None:
            return None
        return Connectable(
            plugin.name,
            namespace(plugin.name),
            description=plugin.description,
            scopes=plugin.auth.scopes,
            accounts=self._accounts(plugin, section),
            fields=plugin.auth.fields,
        )

    def _accounts(self, plugin: Plugin, section: PluginSection) -> OAuthAccounts | None:
        if plugin.auth is None or plugin.auth.kind != "oauth2":
            return None
        provider = provider_of(plugin, section)
        return self.outbound.accounts(namespace(plugin.name), plugin.name, provider)


def provider_of(plugin: Plugin, section: PluginSection) -> OAuthProvider:
    """The OAuth provider that a plugin names, with what the operator says of it.

    Of a plugin with a process of its own the operator has to name the addresses, for the gateway asks them from inside.

    Raises:
        ConfigurationError: it cannot be used as it is described.
    """
    place = f"plugins.{plugin.name}.auth"
    named = plugin.auth.provider if plugin.auth is not None else None
    said: dict[str, Any] = dict(section.auth)
    if unknown := sorted(said.keys() - _KNOWN):
        raise ConfigurationError(f"{place}.{unknown[0]}: is not a known key; there are: {', '.join(sorted(_KNOWN))}")
    if isinstance(named, Mapping):
        if section.isolation == "process" and not {"provider", "issuer", "token_url"} & said.keys():
            raise ConfigurationError(
                f"{place}: the plugin runs in a process of its own, so name its OAuth provider here: a `provider`, an"
                " `issuer`, or `authorization_url` and `token_url`"
            )
        said = {**({} if section.isolation == "process" else named), **said}
        named = None
    elsewhere = {"issuer", "token_url"} & said.keys()  # the operator names another than the plugin does
    known = said.pop("provider", None if elsewhere else named)
    said["scopes"] = tuple(said.get("scopes", plugin.auth.scopes if plugin.auth is not None else ()))
    try:
        return preset(str(known), **said) if known else OAuthProvider(name=plugin.name, **said)
    except (ConfigurationError, TypeError) as error:
        raise ConfigurationError(f"{place}: {error}") from None
