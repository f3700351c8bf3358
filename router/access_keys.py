"""The users' access keys as this router knows them: the catalog's, opened with the key file."""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.cluster.catalog import AccessKeyRecord, Catalog, UserRecord
from quorate.logs import error
from quorate.security.sealing import OPERATOR_ID, KeyFile, Place, SealBroken


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key, its user and its secret, which shows nowhere."""

    record: AccessKeyRecord
    place: Place  # where it was when it was opened
    user: UserRecord
    secret: str = field(repr=False)


class AccessKeys:
    """Finds secrets by access key id."""

    def __init__(self, key_file: KeyFile | None) -> None:
        """Without a key file no key is known."""
        self._key_file = key_file
        self._by_id: dict[str, AccessKey] = {}

    def find_secret(self, key_id: str) -> str | None:
        """Return the secret of a user's key, None if there is no such key."""
        found = self._by_id.get(key_id)
        return None if found is None else found.secret

    def find_user(self, key_id: str) -> UserRecord | None:
        """Return the user of a key, None if there is no such key."""
        found = self._by_id.get(key_id)
        return None if found is None else found.user

    def find_any_secret(self, key_id: str) -> str | None:
        """Return the secret of a user's key, or of the operator, who has the key file."""
        if key_id == OPERATOR_ID and self._key_file is not None:
            return self._key_file.operator_secret
        return self.find_secret(key_id)

    def adopt(self, catalog: Catalog) -> None:
        """Know the keys of this catalog and no others; what was opened before is kept."""
        known, self._by_id = self._by_id, {}
        if self._key_file is None:
            return
        for user in catalog.users:
            for record in user.access_keys:
                place = Place(
                    cluster_id=catalog.cluster_id,
                    user_name=user.name,
                    grants=user.grants,
                    access_key_id=record.id,
                )
                old = known.get(record.id)
                if old is not None and (old.record, old.place) == (record, place):
                    self._by_id[record.id] = AccessKey(record, place, user, old.secret)
                    continue
                try:
                    secret = self._key_file.unseal(record.sealed_secret, place)
                except SealBroken:
                    reason = "this router's key file has not sealed it for this user and its grants"
                    error("access_key_unusable", key=record.id, user=user.name, reason=reason)
                    continue
                self._by_id[record.id] = AccessKey(record, place, user, secret)
