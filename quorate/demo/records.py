"""The demo's data: the Debian package index as nested records. Parsing, and where to find it.

Sources, the first that is there: the largest index that apt keeps (Debian's own has tens of
thousands of packages, its security updates some thousands), the list of installed packages that
dpkg keeps, the file that lies beside this module (data/README.md).
"""

from __future__ import annotations

import base64
import lzma
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

APT_LISTS: Final = Path("/var/lib/apt/lists")
APT_HELPER: Final = Path("/usr/lib/apt/apt-helper")
"""Reads an index whatever it is compressed with, as apt is configured. Source: apt's own tools."""

DPKG_STATUS: Final = Path("/var/lib/dpkg/status")
SHIPPED: Final = Path(__file__).with_name("data") / "debian-packages.xz"

RECORDS_FEW: Final = 1_000
"""A source with fewer records is passed over: it shows nothing. Ours."""

RELATION: Final = re.compile(
    r"([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?(?:\s*\(([<>=]+)\s*([^)]+)\))?"
)
"""One package relation. Source: Debian Policy 7.1."""

PERSON: Final = re.compile(r"\s*\"?(.*?)\"?\s*<([^<>]*)>")

Record = dict[str, Any]
"""An item in DynamoDB's JSON encoding."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the records come from, for people, and the text of the index."""

    name: str
    text: str


def find_source(apt_lists: Path = APT_LISTS) -> Source:
    """Return the best source there is on this machine."""
    largest = Source("", "")
    for path in sorted(apt_lists.glob("*_Packages*")):
        source = Source(f"the package index of apt ({path})", _read_index(path))
        largest = max(largest, source, key=_count)
    if _count(largest) >= RECORDS_FEW:
        return largest
    try:
        text = DPKG_STATUS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    installed = Source(f"the installed packages ({DPKG_STATUS})", text)
    return installed if _count(installed) >= RECORDS_FEW else shipped_source()


def _count(source: Source) -> int:
    """Return about how many records a source has."""
    return source.text.count("\nPackage: ")


def shipped_source() -> Source:
    """Return the index that comes with this package."""
    text = lzma.decompress(SHIPPED.read_bytes()).decode("utf-8")
    return Source("a sample of the Debian 12 package index that comes with quorate", text)


def _read_index(path: Path) -> str:
    """Return an index's text, empty if it cannot be read."""
    try:
        if path.suffix == ".xz":
            content = lzma.decompress(path.read_bytes())
        elif path.name.endswith("_Packages"):
            content = path.read_bytes()
        elif APT_HELPER.exists():
            content = subprocess.run(  # noqa: S603 - a file of apt's, read by apt's own tool
                [str(APT_HELPER), "cat-file", str(path)], check=True, capture_output=True
            ).stdout
        else:
            return ""
    except (OSError, lzma.LZMAError, subprocess.CalledProcessError):
        return ""
    return content.decode("utf-8", errors="replace")


def parse_index(text: str, *, records_max: int) -> list[Record]:
    """Return a record for each package of an index, each key once, evenly thinned out."""
    stanzas = [stanza for stanza in text.split("\n\n") if stanza.strip()]
    count = min(len(stanzas), records_max)
    chosen = (stanzas[at * len(stanzas) // count] for at in range(count))
    records: dict[tuple[str, str], Record] = {}
    for stanza in chosen:
        fields = _fields(stanza)
        if fields.get("Package") and fields.get("Version"):
            record = record_of(fields)
            records.setdefault(key_of(record), record)
    return list(records.values())


def key_of(record: Record) -> tuple[str, str]:
    """Return the partition key and the sort key of a record."""
    return record["section"]["S"], record["id"]["S"]


def _fields(stanza: str) -> dict[str, str]:
    """Return the fields of a stanza; continuation lines are joined to their field."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            if name:
                fields[name] += "\n" + line.strip()
            continue
        name, colon, value = line.partition(":")
        if colon:
            fields[name] = value.strip()
        else:
            name = ""
    return fields


def record_of(fields: dict[str, str]) -> Record:
    """Return the record of one package, nested as an application would have it."""
    package, version = fields["Package"], fields["Version"]
    architecture = fields.get("Architecture", "all")
    record: Record = {
        "section": {"S": fields.get("Section") or "unknown"},
        "id": {"S": f"{package}#{version}#{architecture}"},
        "package": {"S": package},
        "version": {"S": version},
        "architecture": {"S": architecture},
        "priority": {"S": fields.get("Priority") or "optional"},
        "essential": {"BOOL": fields.get("Essential") == "yes"},
        "maintainer": {"M": _person(fields.get("Maintainer", ""))},
        "depends": {"L": [*_relations(fields.get("Depends", ""))]},
        "sizes": {"M": _sizes(fields)},
    }
    for name in ("Source", "Homepage", "Multi-Arch", "Description"):
        if fields.get(name):
            record[name.lower().replace("-", "_")] = {"S": fields[name]}
    tags = {tag.strip() for tag in fields.get("Tag", "").replace("\n", " ").split(",")} - {""}
    if tags:
        record["tags"] = {"SS": sorted(tags)}
    checksum = fields.get("SHA256", "")
    if len(checksum) == 64:
        record["sha256"] = {"B": base64.b64encode(bytes.fromhex(checksum)).decode()}
    return record


def _person(text: str) -> dict[str, Any]:
    found = PERSON.match(text)
    if found is None:
        return {"name": {"S": text}}
    return {"name": {"S": found[1]}, "email": {"S": found[2]}}


def _sizes(fields: dict[str, str]) -> dict[str, Any]:
    names = {"download_bytes": "Size", "installed_kib": "Installed-Size"}
    return {
        ours: {"N": str(int(fields[theirs]))}
        for ours, theirs in names.items()
        if fields.get(theirs, "").isdigit()
    }


def _relations(text: str) -> Iterator[dict[str, Any]]:
    """Yield one map for each dependency; the first alternative and the others' names."""
    for clause in text.replace("\n", " ").split(","):
        alternatives = [
            found for part in clause.split("|") if (found := RELATION.match(part.strip()))
        ]
        if not alternatives:
            continue
        first = alternatives[0]
        relation: dict[str, Any] = {"package": {"S": first[1]}}
        if first[2]:
            relation["relation"] = {"S": first[2]}
            relation["version"] = {"S": first[3]}
        if len(alternatives) > 1:
            relation["or"] = {"L": [{"S": other[1]} for other in alternatives[1:]]}
        yield {"M": relation}


def canonical(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a value in DynamoDB's encoding with sets in one order, so that equal means equal."""
    if isinstance(value, dict):
        return {
            name: sorted(content) if name in ("SS", "NS", "BS") else canonical(content)
            for name, content in value.items()
        }
    if isinstance(value, list):
        return [canonical(element) for element in value]
    return value
