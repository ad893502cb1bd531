"""AWS: requests signed with Signature Version 4, by access keys or by those of an assumed role.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from trustgate.config.records import AwsAuth
from trustgate.contract.upstream import Call, CannotAuthorise, Header, Origin, Payload, pieces, size_of
from trustgate.providers.credentials.references import BadCredential
from trustgate.providers.credentials.tokens import Fetched, Kept, hush, with_headers

if TYPE_CHECKING:
    from botocore.auth import SigV4Auth
    from botocore.exceptions import BotoCoreError, ClientError

WHAT: Final = "AWS STS"
LOOKED_UP: Final = 60.0
"""Seconds after which keys that are references are looked up again."""
LARGE: Final = 512 * 1024
"""Bytes from which on a body is hashed in a thread: the loop would stand still for half a millisecond and more."""
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}")
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
_CODE: Final = re.compile(r"[A-Za-z.]{1,64}")
_KEYS: Final = ("access_key_id", "secret_access_key", "session_token")


class Keys(Struct, frozen=True, kw_only=True):
    """What signs."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        """Say nothing: it is a secret."""
        return "Keys()"


def check(auth: AwsAuth) -> None:
    """Check that there is a region, and either access keys or a role. Raises BadCredential."""
    if not _REGION.fullmatch(auth.region):
        raise BadCredential("auth.aws.region is no region: write it like us-east-1")
    keys = [field for field in _KEYS if getattr(auth, field)]
    if bool(keys) == (auth.use_role or bool(auth.role)):
        raise BadCredential("auth.aws needs exactly one of access_key_id with secret_access_key, or use_role with role")
    if keys:
        for field in ("access_key_id", "secret_access_key"):
            if field not in keys:
                raise BadCredential(f"auth.aws.{field} is missing: access keys are an id and a secret")
    elif not auth.use_role:
        raise BadCredential("auth.aws.use_role must be true for auth.aws.role to be assumed")
    elif not _ROLE.fullmatch(auth.role):
        raise BadCredential("auth.aws.role is no ARN of a role: write it like arn:aws:iam::123456789012:role/name")


class Signed:
    """A credential that signs calls to one service in one region."""

    def __init__(self, keys: Kept[Keys], *, region: str, service: str) -> None:
        self._keys = keys
        self._region = region
        self._service = service

    def __repr__(self) -> str:
        """Say for what; the keys are secret."""
        return f"Signed({self._service}, {self._region})"

    async def authorise(self, call: Call) -> Call:
        """Return the call with its signature over method, path, query, host, type and body. Raises CannotAuthorise."""
        keys = await self._keys.get()
        large = size_of(call.body) > LARGE
        digest = await asyncio.to_thread(digest_of, call.body) if large else digest_of(call.body)
        return with_headers(call, _signature(call, digest, keys, region=self._region, service=self._service))

    def rejected(self) -> None:
        """Hear that the provider refused the keys: the next call has new ones, if they are a role's."""
        self._keys.drop()


def digest_of(body: Payload) -> str:
    """Return the SHA-256 of a body in lower-case hex, without joining its pieces."""
    digest = sha256()
    for piece in pieces(body):
        digest.update(piece)
    return digest.hexdigest()


def _signature(call: Call, digest: str, keys: Keys, *, region: str, service: str) -> tuple[Header, ...]:
    """Sign as few headers as AWS asks for: what a proxy may change on the way must not be among them."""
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - loaded when the keys were fetched
    from botocore.credentials import Credentials  # noqa: PLC0415 - see above

    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers if _signs(name)}
    request = AWSRequest(method=call.method, url=_url(call), headers=headers)
    proof = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token or None)
    _signer()(digest, proof, service, region).add_auth(request)
    made = ("X-Amz-Date", "X-Amz-Security-Token", "Authorization")
    return tuple((name.lower().encode(), request.headers[name].encode()) for name in made if name in request.headers)


def _signs(name: bytes) -> bool:
    lower = name.lower()
    return lower == b"content-type" or (
        lower.startswith(b"x-amz-") and lower not in (b"x-amz-date", b"x-amz-security-token")
    )


def _url(call: Call) -> str:
    host = f"[{call.origin.host}]" if ":" in call.origin.host else call.origin.host
    return f"{call.origin.scheme}://{host}:{call.origin.port}{call.target.decode('latin-1')}"


@lru_cache(maxsize=1)
def _signer() -> "Callable[[str, Any, str, str], SigV4Auth]":
    from botocore.auth import SigV4Auth  # noqa: PLC0415 - botocore costs 200 ms, and few need it

    hush("botocore", "urllib3")

    class Signer(SigV4Auth):
        """botocore's signer, told what the body's digest is instead of being given the body."""

        def __init__(self, digest: str, *given: Any) -> None:
            super().__init__(*given)
            self._digest = digest

        def payload(self, request: Any) -> str:
            return self._digest

    return Signer


async def own_keys(look: Callable[[], AwsAuth], *, again: bool) -> Fetched[Keys]:
    """Return the keys of an auth; `again` says whether they are to be looked up from time to time."""
    await asyncio.to_thread(_signer)
    auth = look()
    keys = Keys(
        access_key_id=auth.access_key_id, secret_access_key=auth.secret_access_key, session_token=auth.session_token
    )
    return Fetched(keys, LOOKED_UP if again else inf)


async def role_keys(auth: AwsAuth, *, session: str, sts_url: str) -> Fetched[Keys]:
    """Return the keys of a role that this host's identity may assume, for an hour. Raises CannotAuthorise.

    `session` is the name under which AWS's own logs (CloudTrail) show what was done with them.
    """
    return await asyncio.to_thread(_assume, auth, session, sts_url)


def _assume(auth: AwsAuth, name: str, sts_url: str) -> Fetched[Keys]:
    from botocore.config import Config  # noqa: PLC0415 - see above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - see above
    from botocore.session import Session  # noqa: PLC0415 - see above

    _signer()
    config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    try:
        client: Any = Session().create_client("sts", auth.region, endpoint_url=sts_url or None, config=config)
        said = client.assume_role(RoleArn=auth.role, RoleSessionName=name)["Credentials"]
    except ClientError as error:
        raise _refused(error) from None
    except BotoCoreError as error:
        raise _unreached(error) from None
    except (KeyError, ValueError, ResponseParserError):
        raise CannotAuthorise(f"{WHAT} answered with something that holds no keys") from None
    keys = Keys(
        access_key_id=said["AccessKeyId"],
        secret_access_key=said["SecretAccessKey"],
        session_token=said["SessionToken"],
    )
    return Fetched(keys, (said["Expiration"] - datetime.now(UTC)).total_seconds())


def _refused(error: "ClientError") -> CannotAuthorise:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    named = f" ({code})" if _CODE.fullmatch(code) else ""
    retryable = status >= 500 or status == 429 or code == "Throttling"
    return CannotAuthorise(f"{WHAT} did not give the role: status {status}{named}", retryable=retryable)


def _unreached(error: "BotoCoreError") -> CannotAuthorise:
    from botocore import exceptions  # noqa: PLC0415 - see above

    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return CannotAuthorise("this host has no identity of AWS that could assume the role")
    retryable = isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError)
    return CannotAuthorise(f"{WHAT} cannot be asked ({type(error).__name__})", retryable=retryable)


def who_am_i(region: str, sts_url: str) -> Call:
    """Return the call, still to be signed for `sts`, that asks whose keys these are. It needs no permission.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    suffix = ".cn" if region.startswith("cn-") else ""
    url = urlsplit(sts_url or f"https://sts.{region}.amazonaws.com{suffix}")
    return Call(
        method="POST",
        origin=Origin(
            scheme=url.scheme, host=url.hostname or "", port=url.port or {"http": 80, "https": 443}[url.scheme]
        ),
        target=(url.path or "/").encode(),
        headers=[(b"content-type", b"application/x-www-form-urlencoded")],
        body=b"Action=GetCallerIdentity&Version=2011-06-15",
    )
