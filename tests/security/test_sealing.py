"""The key file: who may read it, what is sealed with it, and that nothing of it leaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.security.sealing import (
    KEY_ID_PREFIX,
    OPERATOR_ID,
    KeyFile,
    KeyFileRefused,
    SealBroken,
    create_key_file,
    load_key_file,
    new_access_key,
)

SECRET = "the secret of ada"


def seal(key: KeyFile) -> bytes:
    return key.seal(SECRET, cluster_id="c", access_key_id="K")


def test_new_key_file_is_its_owners_alone_and_can_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path)

    assert path.stat().st_mode & 0o777 == 0o600
    opened = load_key_file(path).unseal(
        seal(load_key_file(path)), cluster_id="c", access_key_id="K"
    )
    assert opened == SECRET


def test_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path)
    before = path.read_bytes()

    with pytest.raises(FileExistsError):
        create_key_file(path)

    assert path.read_bytes() == before


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

    assert key.unseal(sealed, cluster_id="c", access_key_id="K") == SECRET
    for cluster_id, key_id in (("d", "K"), ("c", "L")):
        with pytest.raises(SealBroken):
            key.unseal(sealed, cluster_id=cluster_id, access_key_id=key_id)
    with pytest.raises(SealBroken):
        KeyFile(b"1" * 32).unseal(sealed, cluster_id="c", access_key_id="K")


def test_every_damaged_byte_of_a_sealed_secret_is_noticed() -> None:
    key = KeyFile(bytes(32))
    sealed = seal(key)

    damaged = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]
    cut = [sealed[:n] for n in range(len(sealed))]
    for bad in [*damaged, *cut]:
        with pytest.raises(SealBroken):
            key.unseal(bad, cluster_id="c", access_key_id="K")


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
