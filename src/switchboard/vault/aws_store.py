"""Documents of the vault in AWS Secrets Manager, one secret each. Satisfies `Documents`.

With boto3 (the extra `aws`), which finds credentials wherever AWS leaves them and signs requests. It blocks, so each
request is made on a thread. What Secrets Manager lacks, a conditional write, is made of two requests: a new version is
put in under a label of its own, and `AWSCURRENT` is moved to it from the version that was read, which fails if it is
not there any more. (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html)
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from switchboard.errors import ConfigurationError, VaultUnavailable

TIMEOUT_S: Final = 5
THREADS: Final = 16
DELETING_S: Final = (0.5, 1.0, 2.0, 4.0)
"""How long to wait for the end of a secret of the same name, which AWS removes a moment after it has said so."""

_CURRENT: Final = "AWSCURRENT"


def aws_client(region: str, endpoint: str = "") -> Any:
    """A client of Secrets Manager.

    Raises:
        ConfigurationError: boto3 is not installed, or no region is known.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise ConfigurationError("VAULT: aws: needs boto3: install mcp-switchboard[aws]") from None
    config = Config(
        connect_timeout=TIMEOUT_S,
        read_timeout=TIMEOUT_S,
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=THREADS,
    )
    try:
        return boto3.client("secretsmanager", region_name=region or None, endpoint_url=endpoint or None, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"VAULT: aws: {error}") from None


class AwsDocuments:
    """The secrets whose names begin with `PREFIX/`.

    Args:
        client: of `aws_client`.
    """

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = f"{prefix}/"
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aws")

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def get(self, name: str) -> tuple[str, str] | None:
        """See `Documents`. A secret that AWS is to delete is none."""
        found = await self._ask(
            self._client.get_secret_value, (*_ABSENT, _DELETED), SecretId=self._prefix + name, VersionStage=_CURRENT
        )
        return None if isinstance(found, str) else (str(found["SecretString"]), str(found["VersionId"]))

    async def set(self, name: str, text: str, expected: str | None) -> bool:
        """See `Documents`."""
        if expected is None:
            return await self._create(self._prefix + name, text)
        label = f"switchboard-{secrets.token_hex(8)}"
        put = await self._ask(
            self._client.put_secret_value,
            _ABSENT,
            SecretId=self._prefix + name,
            SecretString=text,
            VersionStages=[label],
        )
        if isinstance(put, str):
            return False
        moved = await self._ask(
            self._client.update_secret_version_stage,
            (*_ABSENT, "InvalidParameterException"),
            SecretId=self._prefix + name,
            VersionStage=_CURRENT,
            MoveToVersionId=put["VersionId"],
            RemoveFromVersionId=expected,
        )
        # A version without a label is one that AWS may remove.
        await self._ask(
            self._client.update_secret_version_stage,
            _ABSENT,
            SecretId=self._prefix + name,
            VersionStage=label,
            RemoveFromVersionId=put["VersionId"],
        )
        return not isinstance(moved, str)

    async def remove(self, name: str) -> None:
        """See `Documents`."""
        await self._ask(
            self._client.delete_secret, _ABSENT, SecretId=self._prefix + name, ForceDeleteWithoutRecovery=True
        )

    async def names(self, prefix: str) -> list[str]:
        """See `Documents`."""
        wanted, found, page = self._prefix + prefix, [], ""
        while True:
            more = {"NextToken": page} if page else {}
            told: Any = await self._ask(
                self._client.list_secrets, (), Filters=[{"Key": "name", "Values": [wanted]}], MaxResults=100, **more
            )
            found += [str(each["Name"]) for each in told["SecretList"]]
            page = str(told.get("NextToken", ""))
            if not page:
                return sorted(name.removeprefix(self._prefix) for name in found if name.startswith(wanted))

    async def _create(self, name: str, text: str) -> bool:
        for pause in (*DELETING_S, None):
            made = await self._ask(
                self._client.create_secret,
                ("ResourceExistsException", _DELETED),
                Name=name,
                SecretString=text,
            )
            if made != _DELETED:
                return not isinstance(made, str)
            if pause is None:
                break
            await asyncio.sleep(pause)
        raise VaultUnavailable("AWS Secrets Manager still deletes the secret of that name: wait, or restore it there")

    async def _ask(self, method: Callable[..., Any], expected: tuple[str, ...], **arguments: Any) -> Any:
        """What AWS answers, or the code of an error that is one of those expected."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: method(**arguments))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in expected:
                return code
            raise VaultUnavailable(f"AWS Secrets Manager answers {code or 'with an error'}") from None
        except BotoCoreError as error:
            raise VaultUnavailable(f"AWS Secrets Manager cannot be asked ({type(error).__name__})") from None


_ABSENT: Final = ("ResourceNotFoundException",)
_DELETED: Final = "InvalidRequestException"
"""A secret of that name is to be deleted."""
