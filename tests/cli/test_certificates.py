"""`quorate cert`, and a node that is told what is wrong with its certificate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def quorate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quorate", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def node(folder: Path, certificate: str, *more: str) -> subprocess.CompletedProcess[str]:
    certs = folder / "certs"
    return quorate(
        *("node", "--name", "a1", "--az", "az-a", "--listen", "0.0.0.0:0", "--cluster-id", "prod"),
        *("--data-dir", str(folder / "data"), "--join", "127.0.0.1:1", "--advertise", "h:1"),
        *("--cluster-ca", str(certs / "ca.crt"), *more),
        *("--cluster-cert", str(certs / f"{certificate}.crt")),
    )


def test_one_command_makes_all_and_nothing_is_overwritten(tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    made = quorate("cert", "create-all", str(certs), "prod", "a1", "b1")

    assert (made.returncode, made.stderr) == (0, "")
    stems = ("ca", "node-a1", "node-b1", "router", "admin")
    files = {f"{stem}.{kind}" for stem in stems for kind in ("crt", "key")}
    assert {path.name for path in certs.iterdir()} == files
    assert f"--cluster-cert {certs / 'node-a1.crt'}" in made.stdout

    again = quorate("cert", "create-all", str(certs), "prod", "a1", "b1")
    assert (again.returncode, again.stdout) == (2, "")
    assert "ca.key is there already: it is never overwritten" in again.stderr
    one = quorate("cert", "create-node", str(certs), "prod", "a1")
    assert one.returncode == 2
    assert "--overwrite makes a new one" in one.stderr
    assert quorate("cert", "create-node", str(certs), "prod", "c1", "--days", "30").returncode == 0

    refused = node(tmp_path, "node-b1", "--cluster-key", str(certs / "node-b1.key"))
    assert refused.returncode == 2
    assert "is the certificate of node b1 of cluster prod, not of node a1" in refused.stderr
    part = node(tmp_path, "node-a1")
    assert part.returncode == 2
    assert "--cluster-ca, --cluster-cert and --cluster-key belong together" in part.stderr
    assert not (tmp_path / "data").exists()


def test_name_that_cannot_stand_in_a_certificate_is_refused(tmp_path: Path) -> None:
    quorate("cert", "create-ca", str(tmp_path), "prod")
    refused = quorate("cert", "create-node", str(tmp_path), "prod", "a.1")
    assert refused.returncode == 2
    assert "the node's name 'a.1' cannot stand in a certificate" in refused.stderr
