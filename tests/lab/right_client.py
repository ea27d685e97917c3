"""A client that does what every scenario's right client does, and one wrong thing when it is told to."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from switchboard.lab.company import EXCHANGE, ID_JAG, ID_TOKEN
from switchboard.lab.issuer import JWT_BEARER
from switchboard.lab.rules.sending import GIVEN_SECRET

REDIRECT = "http://127.0.0.1:9/back"
DOCUMENT = "https://client.example/document.json"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ATTEMPTS = 2
"""How often a right client tries what does not help; a wrong one tries `MANY` times."""

MANY = 6


class Stopped(Exception):
    """The client refuses to go on, or gives up."""


class RightClient:
    """A client of one endpoint.

    Args:
        fault: what it does wrong, a name that its code looks at; empty for nothing.
        wait: lets time pass.
        now: Unix seconds.
        given: the client id that it was told beforehand.
        in_browser: whether it is a page, whose requests for metadata have preflights.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        url: str,
        wait: Callable[[float], None],
        now: Callable[[], float],
        *,
        fault: str = "",
        given: str = "",
        in_browser: bool = False,
    ) -> None:
        self._http, self._url, self._wait, self._now, self._fault = http, url, wait, now, fault
        self._id, self._secret, self._in_browser = given, "", in_browser
        parts = urlsplit(url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._token, self._refresh, self._scopes = "", "", ""
        self._resource, self._issuer = url, ""
        self._metadata: Mapping[str, Any] = {}
        self._key = ECKey.generate_key("P-256")
        self._keys: KeySet | None = None
        self._told_of, self._registered = "", ""
        self._patience = MANY if fault == "no end" else ATTEMPTS

    @property
    def token(self) -> str:
        """The access token that it has."""
        return self._token

    async def run(self, pauses: float = 0.0) -> str:
        """List and call the tools, twice, with a pause between; why it stopped, empty if it did not."""
        try:
            for round_ in range(3 if pauses else 1):
                self._wait(pauses if round_ else 0)
                await self._ask("tools/list", {})
                for tool in ("read", "write", "ping_back"):
                    await self._ask("tools/call", {"name": tool, "arguments": {}})
        except Stopped as stopped:
            return str(stopped)
        return ""

    async def _ask(self, method: str, params: Mapping[str, Any]) -> None:
        for _ in range(self._patience + 1):
            answer = await self._send(method, params)
            if answer.status_code == 200 and answer.text.startswith("id: "):
                event = answer.text.partition("\n")[0].removeprefix("id: ")
                answer = await self._resumed(event)
            if answer.status_code == 200:
                return
            await self._answer_challenge(answer)
        raise Stopped(f"{method} stays refused")

    async def _resumed(self, event: str) -> httpx2.Response:
        for _ in range(self._patience + 1):
            headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {self._token}", "Last-Event-ID": event}
            answer = await self._http.get(self._url, headers=headers)
            if answer.status_code == 200:
                assert '"This is what you may read."' in answer.text
                return answer
            await self._answer_challenge(answer)
        raise Stopped("the stream stays refused")

    async def _send(self, method: str, params: Mapping[str, Any]) -> httpx2.Response:
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
        query = {}
        if self._token and self._fault == "token in query":
            query = {"access_token": self._token}
        elif self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await self._http.post(self._url, json=message, headers=headers, params=query)

    async def _answer_challenge(self, answer: httpx2.Response) -> None:
        said = dict(re.findall(r'(\w+)="([^"]*)"', answer.headers.get("www-authenticate", "")))
        if self._token and self._fault == "gives up":
            raise Stopped(f"{answer.status_code}")
        if answer.status_code == 403 and not said and self._fault != "no end":
            raise Stopped("forbidden, and nobody says why")
        if answer.status_code == 401 and self._refresh and await self._refreshed():
            return
        if not self._metadata or said.get("resource_metadata", self._told_of) != self._told_of:
            self._told_of = said.get("resource_metadata", "")
            await self._discover(said)
            await self._become_known()
        grants = self._metadata["grant_types_supported"]
        if JWT_BEARER in grants and self._fault != "asks the person":
            await self._by_company()
        elif "client_credentials" in grants and self._fault != "asks the person":
            form = {"grant_type": "client_credentials", "scope": said.get("scope", "")}
            if not await self._got_tokens(form):
                raise Stopped("client_credentials was refused")
        else:
            await self._authorize(said)

    # -- discovery

    async def _discover(self, said: Mapping[str, str]) -> None:
        document = await self._first(self._resource_addresses(said), "resource", required=False)
        if document is None and self._fault == "no fallback":
            raise Stopped("no resource metadata")
        if document is None:
            await self._fall_back()
            return
        self._resource, self._supported = document["resource"], document.get("scopes_supported", [])
        same = self._resource.rstrip("/") in (self._url, self._origin)
        if not same and self._fault != "takes any resource":
            raise Stopped("the metadata are of another resource")
        if self._fault == "refuses unknown members" and "x_lab_member" in document:
            raise Stopped("what is x_lab_member?")
        self._issuer = document["authorization_servers"][0]
        self._metadata = await self._first(self._issuer_addresses(), "issuer") or {}
        if self._metadata["issuer"] != self._issuer and self._fault != "takes any issuer":
            raise Stopped("the metadata are of another issuer")
        if "S256" not in self._metadata.get("code_challenge_methods_supported", []) and self._fault != "takes any pkce":
            raise Stopped("PKCE with S256 is not on offer")
        if self._fault == "mixes issuers":
            other = document["authorization_servers"][-1]
            self._metadata = {**self._metadata, "authorization_endpoint": f"{other}/authorize"}

    def _resource_addresses(self, said: Mapping[str, str]) -> Iterator[str]:
        parts = urlsplit(self._url)
        if "resource_metadata" in said and self._fault != "well-known only":
            yield said["resource_metadata"]
        if self._fault != "challenge only":
            yield f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"
            if self._fault != "path only":
                yield f"{self._origin}/.well-known/oauth-protected-resource"

    async def _fall_back(self) -> None:
        """As 2025-03-26 has it: the issuer is the host."""
        base, self._supported = self._origin, ["read"]
        if self._fault == "keeps the path":
            base = self._url.removesuffix("/mcp")
        parts = urlsplit(base)
        where = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}"
        defaults = {
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "registration_endpoint": f"{base}/register",
            "token_endpoint_auth_methods_supported": ["none"],
            "grant_types_supported": ["authorization_code"],
        }
        self._issuer = base
        self._metadata = await self._first(iter([where]), "issuer", required=False) or defaults

    def _issuer_addresses(self) -> Iterator[str]:
        parts = urlsplit(self._issuer)
        host = f"{parts.scheme}://{parts.netloc}/.well-known"
        found = [
            f"{host}/oauth-authorization-server{parts.path}",
            f"{host}/openid-configuration{parts.path}",
            f"{self._issuer}/.well-known/openid-configuration",
        ]
        yield from found[1:] if self._fault == "openid only" else found[:1] if self._fault == "first only" else found

    async def _first(self, addresses: Iterator[str], member: str, *, required: bool = True) -> Mapping[str, Any] | None:
        for address in addresses:
            answer = await self._got(address)
            if answer.status_code == 200 and member in answer.json():
                document: Mapping[str, Any] = answer.json()
                return document
        if required:
            raise Stopped(f"no document with {member} was found")
        return None

    async def _got(self, address: str) -> httpx2.Response:
        """A document, as a page asks for it: with a header, and without it where its preflight is refused."""
        if not self._in_browser:
            return await self._http.get(address, follow_redirects=self._fault != "follows nothing")
        origin = {"Origin": "http://page.test"}
        asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "mcp-protocol-version"}
        allowed = await self._http.options(address, headers={**origin, **asks})
        if not allowed.is_success and self._fault == "no second try":
            raise Stopped("the page may not ask for the metadata")
        sent = {"MCP-Protocol-Version": "2025-11-25"} if allowed.is_success else {}
        return await self._http.get(address, headers={**origin, **sent})

    # -- registration

    async def _become_known(self) -> None:
        where = self._metadata.get("registration_endpoint")
        if self._fault == "registers anywhere":
            where = where or f"{self._issuer}/register"
        if self._registered and self._registered != self._issuer and self._fault != "keeps its id":
            self._id = ""
        if self._id:
            self._id = "another" if self._fault == "another id" else self._id
        elif where:
            body: dict[str, Any] = {"redirect_uris": [REDIRECT], "client_name": "right client"}
            body["jwks"] = {"keys": [self._key.as_dict(private=False)]}
            body["application_type"] = "web" if self._fault == "as web" else "native"
            if self._fault == "no application type":
                del body["application_type"]
            answer = await self._http.post(where, json=body)
            if answer.status_code != 201:
                raise Stopped("registration was refused")
            self._id, self._secret = answer.json()["client_id"], answer.json().get("client_secret", "")
            self._registered = self._issuer
        elif self._metadata.get("client_id_metadata_document_supported"):
            self._id = DOCUMENT
        else:
            raise Stopped("a client id is needed")

    # -- authorization

    async def _authorize(self, said: Mapping[str, str]) -> None:
        for _ in range(self._patience):
            back = await self._visited(said)
            if "error" not in back:
                return await self._redeem(back)
        raise Stopped(back["error"])

    async def _visited(self, said: Mapping[str, str]) -> Mapping[str, str]:
        self._verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self._verifier.encode()).digest()).rstrip(b"=").decode()
        asked = said.get("scope", " ".join(self._supported)).split()
        if self._fault == "asks for all":
            asked = [*self._supported]
        if self._fault == "asks for nothing":
            asked = []
        keeps = self._scopes.split() if self._fault != "loses scopes" else []
        wanted = dict.fromkeys([*keeps, *asked]) if self._fault != "same scopes" or not self._scopes else keeps
        if self._fault == "loses scopes" and self._scopes:
            wanted = dict.fromkeys(asked[-1:] if len(asked) < 3 else asked[:1])
        self._scopes, self._state = " ".join(wanted), secrets.token_urlsafe(8)
        query = {
            "response_type": "code",
            "client_id": self._id,
            "redirect_uri": REDIRECT,
            "scope": self._scopes,
            "state": self._state,
            "code_challenge": challenge,
            "code_challenge_method": "plain" if self._fault == "plain pkce" else "S256",
            "resource": self._url if self._fault == "own resource" else self._resource,
        }
        if self._fault == "no resource":
            del query["resource"]
        answer = await self._http.get(self._metadata["authorization_endpoint"], params=query, follow_redirects=False)
        if answer.status_code != 303:
            raise Stopped(f"the authorization endpoint answered {answer.status_code}")
        found = parse_qs(urlsplit(answer.headers["location"]).query)
        return {name: values[0] for name, values in found.items()}

    async def _redeem(self, back: Mapping[str, str]) -> None:
        if back.get("state") != self._state and self._fault != "takes any state":
            raise Stopped("state is not what was sent")
        expected = self._metadata.get("authorization_response_iss_parameter_supported", False)
        right = back.get("iss") == self._issuer if expected or "iss" in back else True
        if self._fault == "wants iss":
            right = "iss" in back
        if not right and self._fault != "takes any iss":
            raise Stopped("iss is not the issuer")
        form = {"grant_type": "authorization_code", "code": back["code"], "redirect_uri": REDIRECT}
        if self._fault == "stops with the code":
            raise Stopped("it has a code, and does not know what for")
        form |= {"code_verifier": self._verifier, "resource": self._resource}
        if not await self._got_tokens(form):
            raise Stopped("the code was refused")

    async def _refreshed(self) -> bool:
        if self._fault == "asks the person":
            return False
        used = self._refresh
        answered = await self._got_tokens({"grant_type": "refresh_token", "refresh_token": used})
        if self._fault == "old refresh token":
            self._refresh = used
        elif not answered:
            self._refresh = ""
        if not answered and self._fault == "only refreshes":
            raise Stopped("the refresh was refused")
        return answered

    async def _got_tokens(self, form: Mapping[str, str]) -> bool:
        for _ in range(self._patience):
            answer = await self._token_request(form)
            if answer.status_code == 429:
                self._wait(0 if self._fault == "in a hurry" else float(answer.headers["retry-after"]))
            elif answer.status_code == 200 and answer.headers["content-type"] == "application/json":
                await self._take(answer.json())
                return True
            elif 400 <= answer.status_code < 500:
                return False
        raise Stopped("the token endpoint does not answer with tokens")

    async def _token_request(self, form: Mapping[str, str]) -> httpx2.Response:
        (method,) = self._metadata["token_endpoint_auth_methods_supported"]
        if self._fault == "other auth":
            method = "client_secret_post" if method != "client_secret_post" else "client_secret_basic"
        sent = {"resource": self._resource, **form, "client_id": self._id}
        if self._fault == "no resource":
            del sent["resource"]
        if method == "client_secret_post":
            sent["client_secret"] = self._secret or GIVEN_SECRET
        if method == "private_key_jwt":
            sent |= {"client_assertion": self._assertion(), "client_assertion_type": ASSERTION}
        by_header = method == "client_secret_basic"
        basic = httpx2.BasicAuth(self._id, self._secret or GIVEN_SECRET) if by_header else httpx2.USE_CLIENT_DEFAULT
        return await self._http.post(self._metadata["token_endpoint"], data=sent, auth=basic)

    def _assertion(self) -> str:
        audience = self._url if self._fault == "assertion for the resource" else self._issuer
        claims = {"iss": self._id, "sub": self._id, "aud": audience, "exp": self._now() + 60, "jti": "1"}
        return jwt.encode({"alg": "ES256"}, claims, self._key)

    async def _by_company(self) -> None:
        audience = self._url if self._fault == "other audience" else self._issuer
        assertion = await self.id_jag(audience, self._resource)
        if self._fault == "asks both":
            await self._authorize({})
        elif not await self._got_tokens({"grant_type": JWT_BEARER, "assertion": assertion}):
            raise Stopped("the assertion was refused")

    async def id_jag(self, audience: str, resource: str) -> str:
        """Sign in at the company's provider, and exchange the ID token for an assertion."""
        provider = (
            await self._http.get(f"{self._url.removesuffix('/mcp')}/idp/.well-known/openid-configuration")
        ).json()
        query = {"client_id": self._id, "redirect_uri": REDIRECT, "response_type": "code", "scope": "openid"}
        back = await self._http.get(provider["authorization_endpoint"], params=query)
        code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
        form = {"client_id": self._id, "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        identity = (await self._http.post(provider["token_endpoint"], data=form)).json()["id_token"]
        keys = KeySet.import_key_set((await self._http.get(provider["jwks_uri"])).json())
        assert jwt.decode(identity, keys, algorithms=["ES256"]).claims["iss"] == provider["issuer"]
        exchange = {
            "client_id": self._id,
            "grant_type": EXCHANGE,
            "requested_token_type": ID_JAG,
            "subject_token_type": ID_TOKEN,
            "subject_token": identity,
            "audience": audience,
            "resource": resource,
        }
        answer = await self._http.post(provider["token_endpoint"], data=exchange)
        if answer.status_code != 200:
            raise Stopped(answer.json()["error_description"])
        assertion: str = answer.json()["access_token"]
        return assertion

    async def _verify(self, token: str) -> None:
        """Verify a token by the keys that were there at first: what a client need not do, and should not."""
        if self._keys is None:
            self._keys = KeySet.import_key_set((await self._http.get(self._metadata["jwks_uri"])).json())
        try:
            jwt.decode(token, self._keys, algorithms=["ES256"])
        except (JoseError, ValueError) as unknown:
            raise Stopped("the token is of a key that is not known") from unknown

    async def _take(self, answer: Mapping[str, Any]) -> None:
        if self._fault == "wants Bearer" and answer["token_type"] != "Bearer":
            raise Stopped("token_type is not Bearer")
        if self._fault == "wants scope" and "scope" not in answer:
            raise Stopped("no scope")
        if self._fault == "keeps keys":
            await self._verify(answer["access_token"])
        if self._fault == "reads tokens":
            self._read(answer["access_token"])
        self._token = answer["access_token"]
        self._refresh = answer.get("refresh_token", "")

    def _read(self, token: str) -> None:
        if token.count(".") != 2:
            raise Stopped("the token is no JWT")
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if claims.get("aud") != self._resource or "scope" not in claims:
            raise Stopped("the token is for another resource, or has no scopes")
