"""Make the lock files anew, after a change of a package.json: `python -m tests.clients.lock`.

They hold versions and checksums and no addresses, so that everybody's registry serves them.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def lock(folder: Path) -> None:
    """Write the package-lock.json beside a package.json."""
    subprocess.run(
        ["npm", "install", "--package-lock-only", "--omit-lockfile-registry-resolved"],
        cwd=folder,
        check=True,
    )
    path = folder / "package-lock.json"
    document = json.loads(path.read_text())
    for package in document["packages"].values():
        package.pop("resolved", None)
        package.pop("funding", None)
    path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    for package_json in sorted(HERE.glob("*/package.json")):
        lock(package_json.parent)
