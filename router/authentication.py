"""Who may call: the policy. Signatures themselves are checked by `router.signature`.

Requests must be signed when the router was told so, or when the catalog has users. A router cut
off from the catalog goes on with the users that it knew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from model.errors import ModelError, ServiceUnavailable, UnrecognizedClient
from quorate.cluster.catalog import Catalog
from quorate.cluster.ring import Ring
from quorate.http.protocol import Exchange
from quorate.security.sealing import KeyFile
from quorate.security.signing import GRPC_HOST, GRPC_SERVICE
from router.access_keys import AccessKeys
from router.refusals import no_catalog
from router.signature import SignatureCheck

log = logging.getLogger(__name__)

HTTP_SERVICE: Final = "dynamodb"

REFUSALS_LOGGED_PER_SECOND: Final = 10
"""Most refusals that are logged in a second; the next line tells how many were not. Ours."""

Metadata = Iterable[tuple[str, str | bytes]]
"""What gRPC hands over; lower-case names."""


class StreamPass:
    """Whether the calls of one stream, signed once when it was opened, are to be served now.

    It is looked at again whenever the users have changed: a deleted key ends at once.
    """

    __slots__ = ("_authentication", "_generation", "_key_id", "_metadata", "_method", "_refusal")

    def __init__(self, authentication: Authentication, method: str, metadata: Metadata) -> None:
        """Take what the stream was opened with."""
        self._authentication = authentication
        self._method = method
        self._metadata = tuple(metadata)
        self._key_id = ""  # what the signature was checked with; good for the stream's life
        self._generation = -1
        self._refusal: ModelError | None = None

    def refusal(self) -> ModelError | None:
        """Return why calls are refused, None if they are served."""
        authentication = self._authentication
        if self._generation != authentication.generation:
            self._generation = authentication.generation
            self._refusal = self._look_again() if authentication.is_required else None
        return self._refusal

    def _look_again(self) -> ModelError | None:
        if self._key_id:
            return None if self._authentication.knows(self._key_id) else UnrecognizedClient()
        try:
            self._key_id = self._authentication.check_grpc(self._method, self._metadata)
        except ModelError as error:
            return error
        return None


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
    ) -> None:
        """Without `always_required`, signatures are required once the catalog has users."""
        assert key_file is not None or not always_required
        self._has_key_file = key_file is not None
        self._always_required = always_required
        self.is_required = always_required
        self.generation = 0
        self._keys = AccessKeys(key_file)
        self._wall_clock = wall_clock
        self._logged_second = 0
        self._logged = self._not_logged = 0
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
                must_sign=(b"host",),
                find_secret=find_secret,
                wall_clock=wall_clock,
            )
            for find_secret in (self._keys.find_secret, self._keys.find_operator_secret)
        )

    def catalog_changed(self, catalog: Catalog, ring: Ring) -> None:
        """Take the users of a new catalog."""
        del ring
        self._keys.adopt(catalog)
        self.is_required = self._always_required or bool(catalog.users)
        self.generation += 1

    def check_http(self, exchange: Exchange) -> str:
        """Return the access key id of an HTTP request. Raises a ModelError that says why not."""
        self._check_able()
        return self._http.check(exchange.method, exchange.path, exchange.headers, exchange.body)

    def check_grpc(self, method: str, metadata: Metadata) -> str:
        """Return the access key id of a call of /package.Service/Method. Raises a ModelError."""
        self._check_able()
        return self._grpc.check(b"POST", method.encode(), _grpc_headers(metadata), b"")

    def check_operator(self, method: str, metadata: Metadata, message: bytes) -> None:
        """Let only somebody pass who signed the message with the key file. Raises a ModelError."""
        self._check_able()
        self._operator.check(b"POST", method.encode(), _grpc_headers(metadata), message)

    def knows(self, key_id: str) -> bool:
        """Return whether an access key still is a user's."""
        return self._keys.find_secret(key_id) is not None

    def log_refusal(self, what: str, peer: str, request_id: bytes, error: ModelError) -> None:
        """Log a refusal, without anything secret, unless there are too many."""
        second = int(self._wall_clock())
        if second != self._logged_second:
            if self._not_logged:
                log.warning("%d more calls were refused", self._not_logged)
            self._logged_second, self._logged, self._not_logged = second, 0, 0
        if self._logged >= REFUSALS_LOGGED_PER_SECOND:
            self._not_logged += 1
            return
        self._logged += 1
        log.warning("refused %r from %s: %s, request %s", what, peer, error.code, request_id.hex())

    def _check_able(self) -> None:
        if not self.generation:
            raise no_catalog()  # not "unknown key", which no client would try again
        if not self._has_key_file:
            raise ServiceUnavailable("This router has no key file, so it cannot verify signatures.")


def _grpc_headers(metadata: Metadata) -> dict[bytes, bytes]:
    """Return what a gRPC call stands for when it is signed; see api.proto."""
    headers = {b"host": GRPC_HOST}
    for name, value in metadata:
        if name in ("authorization", "x-amz-date"):
            key = name.encode()
            text = value if isinstance(value, bytes) else value.encode()
            headers[key] = headers[key] + b"," + text if key in headers else text
    return headers
