"""Who may call: the policy. Signatures themselves are checked by `router.signature`.

Requests must be signed when the router was told so, or when the catalog says so: from its first
user on, until an operator opens the cluster again. A router cut off from the catalog goes on with
the users that it knew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from model.errors import InvalidSignature, ModelError, ServiceUnavailable, UnrecognizedClient
from quorate.cluster.catalog import Catalog, UserRecord
from quorate.cluster.ring import Ring
from quorate.http.exchange import Exchange
from quorate.logs import log, warn
from quorate.security.sealing import OPERATOR_ID, KeyFile
from quorate.security.signing import (
    DIGEST_KEY,
    GRPC_HOST,
    GRPC_SERVICE,
    REQUEST_ID_KEY,
    digest_of,
)
from router.access_keys import AccessKeys
from router.denials import operators_only
from router.host_names import check_host
from router.refusal_log import RefusalLog
from router.refusals import no_catalog
from router.request_id import new_request_id
from router.signature import SKEW_SECONDS_MAX, SignatureCheck

HTTP_SERVICE: Final = "dynamodb"

OPERATOR_SKEW_SECONDS_MAX: Final = 60
"""How far the date of an operator's call may be off. Ours: what is captured is of no use later."""

SIGNED_KEYS: Final = ("authorization", "x-amz-date", DIGEST_KEY, REQUEST_ID_KEY)
"""The metadata that a signature is made of."""

Metadata = Iterable[tuple[str, str | bytes]]
"""What gRPC hands over; lower-case names."""


@dataclass(frozen=True, slots=True)
class SignedCall:
    """What a gRPC call's metadata proves, before its message is there: by whom, and for what."""

    key_id: str
    digest: bytes  # of the message

    def check_message(self, message: bytes) -> None:
        """Raise InvalidSignature if another message was signed than this one, which has come."""
        if digest_of(message) != self.digest:
            raise InvalidSignature


class StreamPass:
    """Whether the calls of one stream, signed once when it was opened, are to be served now.

    It is looked at again whenever the users have changed: a deleted key ends at once. `user` is
    who opened it, as of the last look; None while nobody has to sign.
    """

    __slots__ = (
        "_authentication",
        "_generation",
        "_key_id",
        "_metadata",
        "_method",
        "_peer",
        "_refusal",
        "user",
    )

    def __init__(
        self, authentication: Authentication, method: str, metadata: Metadata, peer: str
    ) -> None:
        """Take what the stream was opened with, and look: a signature is good for minutes only."""
        self._authentication = authentication
        self._method = method
        self._metadata = tuple(metadata)
        self._peer = peer
        self._key_id = ""  # what the signature was checked with; good for the stream's life
        self._generation = -1
        self._refusal: ModelError | None = None
        self.user: UserRecord | None = None
        self.refusal()

    def refusal(self) -> ModelError | None:
        """Return why calls are refused, None if they are served."""
        authentication = self._authentication
        if self._generation != authentication.generation:
            self._generation = authentication.generation
            self._refusal = self.user = None
            if authentication.is_required:
                self._look_again()
        return self._refusal

    def _look_again(self) -> None:
        try:
            if not self._key_id:
                signed = self._authentication.check_grpc(self._method, self._metadata)
                signed.check_message(b"")  # signed when it is opened: what follows is not covered
                self._key_id = signed.key_id
            self.user = self._authentication.user_of(self._key_id)
        except ModelError as error:
            self._refusal = error
            refusal_log = self._authentication.refusal_log
            refusal_log.write(self._method, self._peer, new_request_id(), error)


class Authentication:
    """Admits or refuses calls.

    `is_required` says whether calls must be signed. `generation` grows whenever what was admitted
    or refused earlier may have become wrong.
    """

    def __init__(
        self,
        *,
        key_file: KeyFile | None,
        always_required: bool,
        region: str | None,
        wall_clock: Callable[[], float],
        is_for_this_machine: bool = False,
    ) -> None:
        """Without `always_required`, the catalog says whether signatures are required.

        A router that `is_for_this_machine` looks at the Host of what nobody has to sign.
        """
        assert key_file is not None or not always_required
        self._has_key_file = key_file is not None
        self._always_required = always_required
        self._is_for_this_machine = is_for_this_machine
        self.is_required = always_required
        self.generation = 0
        self._keys = AccessKeys(key_file)
        self.refusal_log = RefusalLog(wall_clock)
        self._http = SignatureCheck(
            service=HTTP_SERVICE,
            region=region,
            must_sign=(b"host", b"x-amz-target"),
            find_secret=self._keys.find_secret,
            wall_clock=wall_clock,
        )
        self._grpc, self._operator = (
            SignatureCheck(
                service=GRPC_SERVICE,
                region=None,
                must_sign=(b"host", DIGEST_KEY.encode()),
                must_sign_if_there=(REQUEST_ID_KEY.encode(),),
                skew_seconds_max=skew_seconds_max,
                find_secret=find_secret,
                wall_clock=wall_clock,
            )
            for find_secret, skew_seconds_max in (
                (self._keys.find_secret, SKEW_SECONDS_MAX),
                (self._keys.find_any_secret, OPERATOR_SKEW_SECONDS_MAX),
            )
        )

    def catalog_changed(self, catalog: Catalog, ring: Ring) -> None:
        """Take the users of a new catalog."""
        del ring
        self._keys.adopt(catalog)
        was_required, was_known = self.is_required, self.generation > 0
        self.is_required = self._always_required or catalog.must_sign
        self.generation += 1
        if self.is_required and not (was_required and was_known):
            log("closed", because="--require-auth" if self._always_required else "the catalog says")
        elif not self.is_required and (was_required or not was_known):
            write = warn if was_required else log
            write("open_to_everybody", because="there is no user, so no call needs a signature")

    def admit_http(self, exchange: Exchange) -> UserRecord | None:
        """Return who has signed an HTTP request, None if nobody had to. Raises a ModelError."""
        if self.is_required:
            return self.user_of(self.check_http(exchange))
        if self._is_for_this_machine:
            check_host(exchange.headers.get(b"host", b""))
        return None

    def check_http(self, exchange: Exchange) -> str:
        """Return the access key id of an HTTP request. Raises a ModelError that says why not."""
        self._check_able()
        digest = digest_of(exchange.body)
        return self._http.check(exchange.method, exchange.path, exchange.headers, digest)

    def check_header(self, exchange: Exchange) -> None:
        """Refuse an HTTP request of which the header is here, if no body could mend it.

        Raises a ModelError that says why.
        """
        self._check_able()
        self._http.check_header(exchange.path, exchange.headers)

    def check_grpc(self, method: str, metadata: Metadata) -> SignedCall:
        """Return what the metadata of a call of /package.Service/Method proves.

        Its message is to be checked when it is there. Raises a ModelError.
        """
        return self._check_metadata(self._grpc, method, metadata)

    def check_operator(self, method: str, metadata: Metadata) -> SignedCall:
        """Let only somebody pass who signed with the key file; else like `check_grpc`."""
        signed = self._check_metadata(self._operator, method, metadata)
        if signed.key_id != OPERATOR_ID:
            raise operators_only(self.user_of(signed.key_id), method.rpartition("/")[2])
        return signed

    def _check_metadata(self, check: SignatureCheck, method: str, metadata: Metadata) -> SignedCall:
        self._check_able()
        headers = _grpc_headers(metadata)
        digest = headers.get(DIGEST_KEY.encode(), b"")
        return SignedCall(check.check(b"POST", method.encode(), headers, digest), digest)

    def user_of(self, key_id: str) -> UserRecord:
        """Return whose an access key is now. Raises UnrecognizedClient if it is nobody's."""
        user = self._keys.find_user(key_id)
        if user is None:
            raise UnrecognizedClient
        return user

    def _check_able(self) -> None:
        if not self.generation:
            raise no_catalog()  # not "unknown key", which no client would try again
        if not self._has_key_file:
            raise ServiceUnavailable("This router has no key file, so it cannot verify signatures.")


def _grpc_headers(metadata: Metadata) -> dict[bytes, bytes]:
    """Return what a gRPC call stands for when it is signed; see api.proto."""
    headers = {b"host": GRPC_HOST}
    for name, value in metadata:
        if name in SIGNED_KEYS:
            key = name.encode()
            text = (value if isinstance(value, bytes) else value.encode()).strip()
            headers[key] = headers[key] + b"," + text if key in headers else text
    return headers
