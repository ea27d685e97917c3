"""The environment, read once: one frozen `Settings`, or one clear line about what is wrong.

Only the composition root and the command line read this. Every field is an environment variable of the same name in
capitals; `.env` is read too, and the environment wins. An empty value means "not set". `.env.example` lists them all,
and a test holds it equal to this file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from switchboard import __version__
from switchboard.common.hosts import OriginPatterns, is_loopback, split_origin
from switchboard.common.shared_settings import (
    MAKE_A_KEY,
    BaseUri,
    Items,
    KeyRing,
    Names,
    Rule,
    SharedSettings,
    Url,
    is_public,
    load,
    lower,
    patterns,
)
from switchboard.telemetry.exporting import Exporting


def _store(written: str) -> str:
    """That it names a store; what else it has to be, the vault says."""
    if written.partition(":")[0] not in ("redis", "file", "aws", "azure", "hashicorp"):
        raise ValueError("must be redis, or begin with file:, aws:, azure: or hashicorp:")
    return written


AuditCalls = Annotated[
    Literal["all", "off"] | Annotated[int, Field(ge=2, le=1_000_000)],
    BeforeValidator(lambda said: int(said) if isinstance(said, str) and said.strip().isdigit() else lower(said)),
]


class Settings(SharedSettings):
    """Everything that the MCP server can be told. Descriptions are what `.env.example` and error messages say."""

    workers: int = Field(1, ge=1, le=256, description="processes that serve the port, 1 to 256")
    config_file: Path | None = Field(None, description="YAML, JSON or TOML file with plugins and mcpServers")
    config_overrides: str = Field("", description="JSON object laid over the configuration file (RFC 7396)")
    plugins_dir: Path | None = Field(None, description="folder with plugins of your own, a file or a package each")
    plugins_reload: bool = Field(
        True, description="false leaves changed files of PLUGINS_DIR until a reload is asked for"
    )
    cache_dir: Path = Field(
        default_factory=lambda: Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "switchboard",
        description="folder for what is installed to run servers",
    )
    session_ttl: int = Field(300, ge=1, le=604800, description="seconds an idle session lives, 1 to 604800")
    auth_mode: Annotated[Literal["integrated", "separate", "none"], BeforeValidator(lower)] = Field(
        "integrated", description="integrated, separate or none"
    )
    introspection_url: Url | None = Field(
        None, description="where tokens are introspected in separate mode; empty asks the issuer's metadata"
    )
    introspection_client_id: str | None = Field(None, description="client id for introspection in separate mode")
    introspection_client_secret: SecretStr | None = Field(None, description="client secret for introspection")
    token_validation: Annotated[Literal["introspection", "jwt", "auto"], BeforeValidator(lower)] = Field(
        "introspection", description="introspection, jwt, or auto: JWTs by the issuer's keys, others by introspection"
    )
    token_audiences: Items = Field((), description="what aud must hold one of; this server's own URLs when not set")
    token_clients: Items = Field((), description="the only clients whose tokens count; they may then lack an audience")
    subject_claim: str = Field("sub", min_length=1, description="the claim that identifies a person for good")
    scope_claims: Items = Field(("scope", "scp", "roles"), description="the claims that hold scopes")
    client_claims: Items = Field(("client_id", "azp", "cid"), description="the claims that may hold the client's id")
    required_claims: Names = Field(None, description="JSON object of claims and the values they must have")
    sign_in_client_id: str | None = Field(
        None, description="this server's own client id at the issuer in separate mode; it registers itself when not set"
    )
    sign_in_client_secret: SecretStr | None = Field(None, description="the secret of that client, if it has one")
    sign_in_scopes: Items = Field(
        (), description="what people who sign in at this server's pages are asked for, by the issuer's names"
    )
    scope_map: Names = Field(None, description="JSON object, the issuer's names for scopes to ours")
    allow_insecure_no_auth: bool = Field(False, description="true lets AUTH_MODE=none be reached from other machines")
    allowed_origins: Annotated[Items, patterns(OriginPatterns)] = Field(
        (), description="browser origins that may call: https://app.example.com, http://localhost:*; empty: as above"
    )
    max_sessions: int = Field(20_000, ge=1, description="handshake sessions one principal may have, 1 or more")
    max_streams: int = Field(20_000, ge=1, description="streams one principal may hold open, 1 or more")
    max_requests: int = Field(256, ge=1, description="requests of one session that may run at once on a worker")
    max_stream_bytes: int = Field(
        16 * 1024 * 1024, ge=65_536, description="bytes of messages one stream keeps for replay, 65536 or more"
    )
    max_parked: int = Field(
        50, ge=1, description="calls of one principal that may wait for its answers on a worker, 1 or more"
    )
    task_ttl: int = Field(3600, ge=1, le=604800, description="seconds a task may run and be asked about, 1 to 604800")
    max_tasks: int = Field(50, ge=1, le=1000, description="tasks of one principal that may run on a worker, 1 to 1000")
    max_loop_lag: float = Field(
        5.0, ge=0, description="seconds the event loop may lag before requests are refused with 503; 0 for no limit"
    )
    max_memory_mb: int = Field(0, ge=0, description="MiB a worker may hold before it refuses with 503; 0 for no limit")
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="the largest request body, 1024 or more")
    fast_path: Annotated[Literal["on", "off"], BeforeValidator(lower)] = Field(
        "on", description="off serves every request by the SDK's kernel, which is slower: to find a fault"
    )
    lab: Annotated[Literal["on", "off"], BeforeValidator(lower)] = Field(
        "off", description="on serves the authorization lab at /lab: endpoints that test what clients do"
    )
    lab_origin: BaseUri | None = Field(
        None, description="another origin of this server, whose root is the lab's; empty: the other name of loopback"
    )
    allow_public_lab: bool = Field(False, description="true lets LAB=on serve at a public BASE_URI or LAB_ORIGIN")
    vault: Annotated[str, AfterValidator(_store)] = Field(
        "redis", description="where credentials are kept: redis, file:FOLDER, aws:PREFIX, azure:URL or hashicorp:URL"
    )
    vault_keys: KeyRing = Field(
        (), description="keys of the vault, the newest first; each 32 bytes or more; made of SECRET_KEY when not set"
    )
    vault_token: SecretStr | None = Field(None, description="token for HashiCorp Vault")
    vault_token_file: Path | None = Field(None, description="file with that token, read each time")
    vault_namespace: str = Field("", description="namespace in HashiCorp Vault")
    azure_tenant_id: str = Field("", description="tenant for Azure Key Vault; empty for the managed identity")
    azure_client_id: str = Field("", description="client id for Azure Key Vault")
    azure_client_secret: SecretStr | None = Field(None, description="client secret for Azure Key Vault")
    azure_federated_token_file: Path | None = Field(None, description="file with a federated token instead of it")
    azure_authority_host: Url = Field("https://login.microsoftonline.com", description="where Azure gives out tokens")
    audit_entries: int = Field(
        50_000, ge=0, le=10_000_000, description="entries of the audit log that are kept; 0 for no audit log"
    )
    audit_calls: AuditCalls = Field(
        "off", description="calls, reads and prompts that are audited: all, off, or N for one of N"
    )
    audit_call_entries: int = Field(
        100_000, ge=1, le=10_000_000, description="calls, reads and prompts that are kept in the audit log"
    )
    audit_days: int = Field(90, ge=1, le=3650, description="days for which they are kept, 1 to 3650")
    mcp_registry_url: Url = Field(
        "https://registry.modelcontextprotocol.io", description="registry that servers are searched in and added from"
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="port on which /metrics is open without a token; 0 for none"
    )
    metrics_host: str = Field("127.0.0.1", description="address of that port; anything but loopback is open to others")
    metrics_dir: Path | None = Field(
        None, description="folder in which worker processes of a host add up their metrics; WORKERS makes its own"
    )
    otel_traces_exporter: Annotated[Literal["otlp", "none"], BeforeValidator(lower)] = Field(
        "none", description="otlp sends spans of OpenTelemetry to a collector; needs the extra otel"
    )
    otel_service_name: str = Field("switchboard", min_length=1, description="the service that spans are of")
    otel_exporter_otlp_endpoint: Url | None = Field(
        None, description="base URL of the collector, OTLP over HTTP; http://localhost:4318 when not set"
    )
    otel_exporter_otlp_traces_endpoint: Url | None = Field(
        None, description="the whole URL that spans are posted to, in place of that"
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="headers for the collector, name=value with commas between"
    )
    otel_traces_sampler: Annotated[
        Literal[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ],
        BeforeValidator(lower),
    ] = Field("parentbased_always_on", description="which traces are kept")
    otel_traces_sampler_arg: float = Field(
        1.0, ge=0, le=1, description="the share of traces that samplers by ratio keep, 0 to 1"
    )
    drain_timeout: int = Field(
        25, ge=0, le=3600, description="seconds to finish running requests and tasks at shutdown"
    )
    drain_grace: int = Field(
        3, ge=0, le=600, description="seconds a worker on Redis still takes requests after SIGTERM, for the balancer"
    )

    @property
    def base_path(self) -> str:
        """What all paths of this server start with; empty when it has its host for itself."""
        return urlsplit(self.base_uri).path

    @property
    def exporting(self) -> Exporting | None:
        """Where spans go; `None` for nowhere."""
        if self.otel_traces_exporter == "none":
            return None
        base, headers = self.otel_exporter_otlp_endpoint, self.otel_exporter_otlp_headers
        return Exporting(
            self.otel_service_name,
            __version__,
            self.otel_exporter_otlp_traces_endpoint or (f"{base.rstrip('/')}/v1/traces" if base else ""),
            headers.get_secret_value() if headers else "",
            self.otel_traces_sampler,
            self.otel_traces_sampler_arg,
        )

    @property
    def mcp_url(self) -> str:
        """The endpoint, which is also the `resource` that tokens are bound to."""
        return f"{self.base_uri}/mcp"

    @property
    def own_origin_of_lab(self) -> str | None:
        """Where scenarios are that need the root of a host: LAB_ORIGIN, or what is `localhost` by its other name.

        `None` where there is no other name, or the authorization server has it.
        """
        base = urlsplit(self.base_uri)
        loopback = "[::1]" if ":" in self.host else "127.0.0.1"
        other = {"localhost": loopback, loopback.strip("[]"): "localhost"}.get(base.hostname or "")
        port = "" if base.port is None else f":{base.port}"
        found = self.lab_origin or (other and f"{base.scheme}://{other}{port}")
        return found if found and origin_of(found) != origin_of(self.auth_server_url or "") else None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server, going by what it listens on and is called."""
        return is_loopback(self.host) and is_loopback(urlsplit(self.base_uri).hostname or "")

    @property
    def issues_tokens(self) -> bool:
        """See the base class."""
        return self.auth_mode == "integrated"

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """See the base class."""
        return _RULES


def origin_of(url: str) -> tuple[str, str, str] | None:
    """The origin of a URL, in three parts; `None` for no URL."""
    parts = urlsplit(url)
    return split_origin(f"{parts.scheme}://{parts.netloc}")


def _host(origin: str | None) -> str:
    """The host of LAB_ORIGIN; loopback where it is not set."""
    return urlsplit(origin or "http://localhost").hostname or ""


def _lab_shares_its_origin(s: Settings) -> bool:
    found = origin_of(s.lab_origin or "")
    return found is not None and found in (origin_of(s.base_uri), origin_of(s.auth_server_url or ""))


def _fake_idp_is_public(s: Settings) -> bool:
    return s.issues_tokens and s.upstream == "fake" and is_public(s) and not s.allow_fake_idp


_RULES: Final[Sequence[Rule]] = (
    (
        lambda s: s.vault != "redis" and not s.vault_keys and "secret_key" not in s.model_fields_set,
        lambda s: (
            f"VAULT is {s.vault}, but VAULT_KEYS is not set: what is kept there could not be decrypted after a restart."
            f" Make a key with: {MAKE_A_KEY}"
        ),
    ),
    (
        lambda s: s.workers > 1 and not s.redis_url,
        lambda s: (
            f"WORKERS is {s.workers}, but state is memory://, which one process cannot share: start Redis"
            " (`docker compose up -d`) and set REDIS_URL and SECRET_KEY, or set WORKERS=1"
        ),
    ),
    (
        lambda s: s.auth_mode == "separate" and not s.auth_server_url,
        lambda _: "AUTH_SERVER_URL is not set, but AUTH_MODE is separate: set it to the issuer's URL",
    ),
    (
        lambda s: s.auth_mode == "none" and not s.is_local and not s.allow_insecure_no_auth,
        lambda s: (
            f"AUTH_MODE is none, but HOST={s.host} and BASE_URI={s.base_uri} reach beyond this machine: anybody could"
            " use the server. Use AUTH_MODE=integrated, a loopback HOST and BASE_URI, or ALLOW_INSECURE_NO_AUTH=true"
        ),
    ),
    (
        lambda s: s.lab == "on" and is_public(s) and not s.allow_public_lab,
        lambda s: (
            f"LAB is on, but BASE_URI={s.base_uri} is public: anybody could use the lab and fill Redis with its runs."
            " Set LAB=off, or ALLOW_PUBLIC_LAB=true for a server that is there for tests"
        ),
    ),
    (
        lambda s: s.lab == "on" and not is_loopback(_host(s.lab_origin)) and not s.allow_public_lab,
        lambda s: (
            f"LAB is on, but LAB_ORIGIN={s.lab_origin} is public: anybody could use the lab and fill Redis with its"
            " runs. Set LAB=off, or ALLOW_PUBLIC_LAB=true for a server that is there for tests"
        ),
    ),
    (
        lambda s: s.lab_origin and urlsplit(s.lab_origin).path,
        lambda s: (
            f"LAB_ORIGIN={s.lab_origin} has a path: the lab needs the root of a host, such as https://lab.example.com"
        ),
    ),
    (
        _lab_shares_its_origin,
        lambda s: (
            f"LAB_ORIGIN={s.lab_origin} is the origin of BASE_URI or AUTH_SERVER_URL: its /authorize and /token would"
            " be the lab's. Give the lab another name or port of this server"
        ),
    ),
    (
        _fake_idp_is_public,
        lambda s: (
            f"BASE_URI={s.base_uri} is public, but the fake identity provider lets anybody sign in as anyone:"
            " use UPSTREAM=oidc, AUTH_MODE=separate with a real issuer, or ALLOW_FAKE_IDP=true for a test"
        ),
    ),
)
"""What the MCP server's settings contradict, before what those of both processes do."""


def load_settings(env_file: Path | str | None = ".env", **given: Any) -> Settings:
    """Settings from `given` (what the command line says), the environment and `env_file`, in this order.

    Raises:
        ConfigurationError: a value is wrong; the message is one line, and holds no secret.
    """
    return load(Settings, env_file, **given)
