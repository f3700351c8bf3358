"""Generates quorate/v1/*_pb2*.py from proto/quorate/v1/*.proto.

Run by the build hook (`pip install`, wheels) and by `make proto`. A stub whose text has not
changed is not written again, so that running processes and caches see no new files.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate(root: Path = ROOT) -> list[Path]:
    """Run protoc on every .proto file; return the stubs that changed. Raises SystemExit."""
    from grpc_tools import _proto, protoc  # noqa: PLC0415 - only where the tools are installed

    sources = sorted((root / "proto").rglob("*.proto"))
    well_known = str(Path(_proto.__path__[0]))
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            "protoc",
            f"--proto_path={root / 'proto'}",
            f"--proto_path={well_known}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            *[str(source) for source in sources],
        ]
        if protoc.main(arguments) != 0:
            sys.exit("protoc failed: see its messages above")
        changed = []
        for stub in sorted(Path(out).rglob("*_pb2*.py*")):
            target = root / stub.relative_to(out)
            text = stub.read_bytes()
            if not target.exists() or target.read_bytes() != text:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text)
                changed.append(target)
    return changed


if __name__ == "__main__":
    for path in generate():
        print(path.relative_to(ROOT))
