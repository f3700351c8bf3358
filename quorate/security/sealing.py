"""The cluster's key file, and what is derived from it: sealed secrets, the operator's key.

The file holds 32 random bytes in hex. Routers open users' secrets with it, operators make users
with it; nodes never see it. Whoever reads it owns the cluster, so it must be its owner's alone.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from binascii import unhexlify
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quorate.cluster.catalog import Grant
from quorate.security.private_file import (
    PrivateFileRefused,
    create_private_file,
    read_private_file,
)

KEY_BYTES: Final = 32
"""Length of the key in the file, for AES-256. Ours."""

NONCE_BYTES: Final = 12
"""Length of a nonce, random for each secret. Source: NIST SP 800-38D."""

VERSION: Final = b"\x01"
"""First byte of a sealed secret: AES-256-GCM, nonce, text and tag."""

OPERATOR_ID: Final = "OPERATOR"
"""Access key id of who has the key file. No user's key has it: those begin with KEY_ID_PREFIX."""

KEY_ID_PREFIX: Final = "QRTE"
"""Every access key id begins so. Ours, in the manner of AWS's AKIA."""


class KeyFileRefused(Exception):
    """The key file cannot be used; the text is one sentence, without anything of the key."""


class SealBroken(Exception):
    """A secret was sealed with another key, for another place (see Place), or is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a catalog a secret lies; it is sealed for this place and opens in no other.

    So who can only write catalogs can give a key to no other user, and no user other grants, but
    for those that the user once had together with the same sealed secret.
    """

    cluster_id: str
    user_name: str
    grants: tuple[Grant, ...]
    access_key_id: str

    def encode(self) -> bytes:
        """Return the place as bytes, no two alike."""
        grants = [[each.actions, each.tables] for each in self.grants]
        place = [self.cluster_id, self.user_name, grants, self.access_key_id]
        return json.dumps(place, separators=(",", ":")).encode()


class KeyFile:
    """What can be done with a cluster's key. Nothing of it shows in `repr` or in errors."""

    __slots__ = ("_cipher", "operator_secret")

    def __init__(self, key: bytes) -> None:
        """Take the key, 32 bytes."""
        assert len(key) == KEY_BYTES
        self._cipher = AESGCM(_derived(key, b"quorate: seal access keys"))
        self.operator_secret = _derived(key, b"quorate: operator").hex()

    def seal(self, secret: str, place: Place) -> bytes:
        """Return a secret as it may lie in the catalog, in this place only."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), place.encode())

    def unseal(self, sealed: bytes, place: Place) -> str:
        """Return the secret again. Raises SealBroken."""
        if not sealed.startswith(VERSION):
            raise SealBroken
        nonce, text = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            plain = self._cipher.decrypt(nonce, text, place.encode())
        except (InvalidTag, ValueError):
            raise SealBroken from None
        return plain.decode()


def new_access_key() -> tuple[str, str]:
    """Return a random (access key id, secret), of AWS's lengths: 20 and 40 characters."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return KEY_ID_PREFIX + "".join(secrets.choice(alphabet) for _ in range(16)), (
        secrets.token_urlsafe(30)
    )


def load_key_file(path: Path) -> KeyFile:
    """Read a key file. Raises KeyFileRefused, also if anybody but its owner may touch it."""
    try:
        text = read_private_file(path, what="key file", bytes_max=4 * KEY_BYTES)
    except PrivateFileRefused as refusal:
        raise KeyFileRefused(str(refusal)) from None
    try:
        key = unhexlify(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileRefused(f"the key file {path} does not hold {KEY_BYTES} bytes in hex")
    return KeyFile(key)


def create_key_file(path: Path) -> None:
    """Make a key file with a new random key. Raises FileExistsError or another OSError."""
    create_private_file(path, os.urandom(KEY_BYTES).hex().encode() + b"\n")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, purpose, "sha256")
