"""The package index as nested records."""

from __future__ import annotations

import base64
import lzma
from pathlib import Path

from quorate.demo.records import canonical, find_source, key_of, parse_index, shipped_source

INDEX = """\
Package: zsh
Version: 5.9-4+b2
Architecture: amd64
Section: shells
Priority: optional
Maintainer: Debian Zsh Maintainers <pkg-zsh-devel@lists.alioth.debian.org>
Depends: zsh-common (= 5.9-4), libc6 (>= 2.36), default-mta | mail-transport-agent, libtinfo6:any
Installed-Size: 2459
Size: 822168
Tag: implemented-in::c,
 role::program, scope::utility
SHA256: 00ff000000000000000000000000000000000000000000000000000000000000
Description: shell with lots of features

Package: tasksel
Version: 3.73
"""


def test_stanza_becomes_a_nested_record() -> None:
    zsh, _ = parse_index(INDEX, records_max=10)

    assert key_of(zsh) == ("shells", "zsh#5.9-4+b2#amd64")
    assert zsh["maintainer"]["M"] == {
        "name": {"S": "Debian Zsh Maintainers"},
        "email": {"S": "pkg-zsh-devel@lists.alioth.debian.org"},
    }
    assert zsh["sizes"]["M"] == {"download_bytes": {"N": "822168"}, "installed_kib": {"N": "2459"}}
    assert zsh["tags"] == {"SS": ["implemented-in::c", "role::program", "scope::utility"]}
    assert base64.b64decode(zsh["sha256"]["B"])[:2] == b"\x00\xff"


def test_dependencies_keep_relations_and_alternatives() -> None:
    zsh, _ = parse_index(INDEX, records_max=10)

    assert [entry["M"] for entry in zsh["depends"]["L"]] == [
        {"package": {"S": "zsh-common"}, "relation": {"S": "="}, "version": {"S": "5.9-4"}},
        {"package": {"S": "libc6"}, "relation": {"S": ">="}, "version": {"S": "2.36"}},
        {"package": {"S": "default-mta"}, "or": {"L": [{"S": "mail-transport-agent"}]}},
        {"package": {"S": "libtinfo6"}},
    ]


def test_stanza_with_little_in_it_still_has_a_key() -> None:
    _, tasksel = parse_index(INDEX, records_max=10)

    assert key_of(tasksel) == ("unknown", "tasksel#3.73#all")
    assert "tags" not in tasksel


def test_same_package_twice_is_one_record() -> None:
    assert len(parse_index(INDEX + "\n" + INDEX, records_max=10)) == 2


def test_index_is_thinned_out_evenly() -> None:
    text = "\n\n".join(f"Package: p{number}\nVersion: 1" for number in range(100))

    records = parse_index(text, records_max=4)

    assert [record["package"]["S"] for record in records] == ["p0", "p25", "p50", "p75"]


def test_shipped_index_has_thousands_of_records_in_many_sections() -> None:
    """What the demo falls back to must be worth a demo."""
    records = parse_index(shipped_source().text, records_max=100_000)

    assert len(records) > 5_000
    assert len({key_of(record)[0] for record in records}) > 40


def test_canonical_form_ignores_the_order_of_sets_only() -> None:
    assert canonical({"t": {"SS": ["b", "a"]}}) == canonical({"t": {"SS": ["a", "b"]}})
    assert canonical({"t": {"L": [{"S": "b"}, {"S": "a"}]}}) != canonical(
        {"t": {"L": [{"S": "a"}, {"S": "b"}]}}
    )


def index_of(count: int) -> bytes:
    return "\n".join(f"Package: p{n}\nVersion: 1\n" for n in range(count)).encode()


def test_of_several_indexes_the_one_with_most_packages_is_taken(tmp_path: Path) -> None:
    """By name the security updates come first, and once compressed the larger file is theirs."""
    security = tmp_path / "deb.debian.org_debian-security_dists_stable_main_Packages"
    security.write_bytes(index_of(3072))
    main = tmp_path / "deb.debian.org_debian_dists_stable_main_Packages.xz"
    main.write_bytes(lzma.compress(index_of(20_000)))
    assert main.stat().st_size < security.stat().st_size

    source = find_source(tmp_path)

    assert source.name == f"the package index of apt ({main})"
    assert len(parse_index(source.text, records_max=100_000)) == 20_000


def test_without_an_index_of_apt_there_is_still_a_source(tmp_path: Path) -> None:
    assert "apt" not in find_source(tmp_path / "missing").name
