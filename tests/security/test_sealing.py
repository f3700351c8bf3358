"""The key file: who may read it, what is sealed with it, and that nothing of it leaks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quorate.cluster.catalog import Grant
from quorate.security.sealing import (
    KEY_ID_PREFIX,
    OPERATOR_ID,
    KeyFile,
    KeyFileRefused,
    Place,
    SealBroken,
    create_key_file,
    load_key_file,
    new_access_key,
)

SECRET = "the secret of ada"
READS = Grant(actions=("read",), tables=("orders",))
WRITES = Grant(actions=("write",), tables=("log-*",))
PLACE = Place(cluster_id="c", user_name="ada", grants=(READS, WRITES), access_key_id="K")


def seal(key: KeyFile) -> bytes:
    return key.seal(SECRET, PLACE)


def test_new_key_file_is_its_owners_alone_and_can_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path)

    assert path.stat().st_mode & 0o777 == 0o600
    opened = load_key_file(path).unseal(seal(load_key_file(path)), PLACE)
    assert opened == SECRET


def test_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path)
    before = path.read_bytes()

    with pytest.raises(FileExistsError):
        create_key_file(path)

    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(
    ("mode", "is_taken"), [(0o440, True), (0o640, True), (0o660, False), (0o444, False)]
)
def test_what_root_has_given_to_our_group_alone_is_private(mode: int, is_taken: object) -> None:
    """So Kubernetes mounts Secrets: root's, and readable for the group of the pod."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's are root's alone
        Path(folder).chmod(0o755)
        assert can_be_read_by_another(Path(folder) / "secret", mode) == is_taken


def can_be_read_by_another(path: Path, mode: int) -> bool:
    """Return whether a user who is not root takes root's file, which is his group's."""
    path.write_text("x")
    os.chown(path, 0, 10_001)
    path.chmod(mode)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from quorate.security.private_file import read_private_file\n"
        "os.setgroups([]); os.setgid(10_001); os.setuid(10_001)\n"
        "read_private_file(Path(sys.argv[1]), what='key', bytes_max=10)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0 or "PrivateFileRefused" in ended.stderr, ended.stderr
    return ended.returncode == 0


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    create_key_file(path)
    path.chmod(mode)

    with pytest.raises(KeyFileRefused, match="open to others"):
        load_key_file(path)


@pytest.mark.parametrize("text", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64])
def test_key_file_with_anything_else_is_refused_without_showing_it(
    tmp_path: Path, text: bytes
) -> None:
    path = tmp_path / "key"
    path.write_bytes(text)
    path.chmod(0o600)

    with pytest.raises(KeyFileRefused) as refused:
        load_key_file(path)

    assert text.decode("latin-1") not in str(refused.value) or not text
    assert refused.value.__cause__ is None


def test_missing_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileRefused, match="No such file"):
        load_key_file(tmp_path / "key")


def test_same_secret_is_never_sealed_to_the_same_bytes() -> None:
    key = KeyFile(bytes(32))

    assert seal(key) != seal(key)


def test_sealed_secret_opens_only_where_it_belongs() -> None:
    """The catalog's writers cannot give one user another one's secret."""
    key = KeyFile(bytes(32))
    sealed = seal(key)

    assert key.unseal(sealed, PLACE) == SECRET
    with pytest.raises(SealBroken):
        KeyFile(b"1" * 32).unseal(sealed, PLACE)


@pytest.mark.parametrize(
    "change",
    [
        {"cluster_id": "d"},
        {"user_name": "bob"},
        {"access_key_id": "L"},
        {"grants": ()},
        {"grants": (WRITES, READS)},
        {"grants": (READS,)},
        {"grants": (READS, Grant(actions=("write", "manage"), tables=("log-*",)))},
        {"grants": (Grant(actions=("read",), tables=("orders", "log-*")), WRITES)},
    ],
)
def test_who_writes_the_catalog_cannot_widen_what_a_user_may_do(change: dict[str, Any]) -> None:
    """No grants are all grants, so a node that drops them would make its own user the master."""
    key = KeyFile(bytes(32))

    with pytest.raises(SealBroken):
        key.unseal(seal(key), replace(PLACE, **change))


def test_no_two_places_are_alike() -> None:
    """Whatever stands in the names: what ends one and begins the next is not theirs to say."""
    quote = Place(cluster_id='c","a', user_name="b", grants=(), access_key_id="K")
    plain = Place(cluster_id="c", user_name='a","b', grants=(), access_key_id="K")

    assert quote.encode() != plain.encode()


def test_every_damaged_byte_of_a_sealed_secret_is_noticed() -> None:
    key = KeyFile(bytes(32))
    sealed = seal(key)

    damaged = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]
    cut = [sealed[:n] for n in range(len(sealed))]
    for bad in [*damaged, *cut]:
        with pytest.raises(SealBroken):
            key.unseal(bad, PLACE)


def test_secrets_do_not_show() -> None:
    key = KeyFile(bytes(32))

    assert key.operator_secret not in repr(key)
    assert not hasattr(key, "__dict__")


def test_access_keys_have_the_lengths_of_aws_and_differ() -> None:
    (first_id, first_secret), (second_id, second_secret) = new_access_key(), new_access_key()

    assert (len(first_id), len(first_secret)) == (20, 40)
    assert first_id.startswith(KEY_ID_PREFIX)
    assert not OPERATOR_ID.startswith(KEY_ID_PREFIX)
    assert first_id != second_id
    assert first_secret != second_secret
