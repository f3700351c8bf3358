"""Runs the stories, all against one cluster: `make clients`, or `make clients ARGS=electrodb`.

boto3 and the AWS CLI have theirs in tests/sdk, which also runs in `make test`; the others need
the network once, so they are here. A story is a program: it prints one line per step, and ends
with a sentence and a code other than 0 when a step fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from quorate.local.background import BackgroundCluster
from tests.clients.installs import (
    HERE,
    ROOT,
    install_from_npm,
    install_from_pypi,
    version_on_npm,
    version_on_pypi,
)

STORY_SECONDS_MAX: Final = 600.0
"""Longest that a story may take. Ours: ten times what the longest takes, the AWS CLI's."""

STOP_SECONDS_MAX: Final = 10.0
"""Longest wait for a story to end after SIGTERM, as it stops what it started. Ours."""

CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
AWS = ROOT / ".venv-awscli" / "bin" / "aws"


class Missing(Exception):
    """This machine has not what a client needs; the text names it."""


class StoryFailed(Exception):
    """A story ended badly; it has said why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client: how to know its version, and how to install it and tell its story.

    `tell` is given the endpoint and a home folder; it raises Missing or StoryFailed.
    """

    name: str
    version: Callable[[], str]
    tell: Callable[[str, Path], None]


def in_tests_sdk(*files: str) -> Callable[[str, Path], None]:
    """Return the telling of a story that pytest tells, to a cluster of its own."""

    def tell(_endpoint: str, _home: Path) -> None:
        paths = [str(ROOT / "tests" / "sdk" / file) for file in files]
        run([sys.executable, "-m", "pytest", "-q", *paths], os.environ)

    return tell


def in_python(folder: str) -> Callable[[str, Path], None]:
    """Return the telling of `FOLDER/story.py`."""

    def tell(endpoint: str, home: Path) -> None:
        python = install_from_pypi(folder)
        run([str(python), str(HERE / folder / "story.py")], environment(endpoint, home))

    return tell


def in_node(folder: str, *, in_browser: bool = False) -> Callable[[str, Path], None]:
    """Return the telling of `FOLDER/story.cjs`."""

    def tell(endpoint: str, home: Path) -> None:
        tools = {"NODE": needed("node", "node"), "NPM": needed("npm", "npm")}
        if in_browser:
            tools["CHROMIUM"] = needed("Chromium", *CHROMIUM_NAMES)
        settings = {"NODE_PATH": str(install_from_npm(folder)), "NODE_OPTIONS": "--no-warnings"}
        run(
            [tools["NODE"], str(HERE / folder / "story.cjs")],
            environment(endpoint, home) | settings | tools,
        )

    return tell


def npm_version(folder: str, package: str) -> Callable[[], str]:
    """Return what tells the pinned version of a package."""
    return lambda: version_on_npm(folder, package)


def aws_cli_version() -> str:
    """Return the version of the AWS CLI in its own virtual environment."""
    printed = subprocess.run([AWS, "--version"], capture_output=True, text=True, check=True)
    return printed.stdout.split()[0].removeprefix("aws-cli/")


CLIENTS: Final = {
    client.name: client
    for client in (
        Client(
            name="boto3",
            version=lambda: metadata.version("boto3"),
            tell=in_tests_sdk("test_boto3.py", "test_boto3_resource.py"),
        ),
        Client(
            name="aws-cli",
            version=aws_cli_version,
            tell=in_tests_sdk("test_aws_cli.py"),
        ),
        Client(
            name="aiobotocore",
            version=lambda: version_on_pypi("aiobotocore"),
            tell=in_python("aiobotocore"),
        ),
        Client(
            name="pynamodb",
            version=lambda: version_on_pypi("pynamodb"),
            tell=in_python("pynamodb"),
        ),
        Client(
            name="aws-sdk-v3",
            version=npm_version("aws_sdk_v3", "@aws-sdk/lib-dynamodb"),
            tell=in_node("aws_sdk_v3"),
        ),
        Client(
            name="electrodb",
            version=npm_version("electrodb", "electrodb"),
            tell=in_node("electrodb"),
        ),
        Client(
            name="dynamoose",
            version=npm_version("dynamoose", "dynamoose"),
            tell=in_node("dynamoose"),
        ),
        Client(
            name="dynamodb-admin",
            version=npm_version("dynamodb_admin", "dynamodb-admin"),
            tell=in_node("dynamodb_admin", in_browser=True),
        ),
    )
}


def needed(what: str, *commands: str) -> str:
    """Return the path of the first of some commands that is there; raises Missing."""
    for command in commands:
        path = shutil.which(command)
        if path is not None:
            return path
    raise Missing(f"no {what} on this machine")


def environment(endpoint: str, home: Path) -> dict[str, str]:
    """Return the variables that every AWS SDK reads, and nothing of the caller's AWS settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
        "AWS_REGION": "local",
        "AWS_DEFAULT_REGION": "local",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }


def run(command: list[str], variables: Mapping[str, str]) -> None:
    """Run a story to its end; raises StoryFailed."""
    with subprocess.Popen(command, env=variables, cwd=ROOT, stdin=subprocess.DEVNULL) as story:
        try:
            code = story.wait(STORY_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            story.terminate()
            try:
                story.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                story.kill()
            raise StoryFailed(f"did not end within {STORY_SECONDS_MAX:g} s") from None
    if code != 0:
        raise StoryFailed(f"ended with {code}")


def tell(client: Client, endpoint: str, home: Path) -> str:
    """Tell one client's story and return how it went: "works", "skipped: ..." or "FAILED: ..."."""
    print(f"\n{client.name}", flush=True)
    started = time.monotonic()
    try:
        client.tell(endpoint, home)
    except Missing as missing:
        return f"skipped: {missing}"
    except StoryFailed as failed:
        return f"FAILED: {failed}"
    except subprocess.SubprocessError as failed:
        return f"FAILED: could not be installed: {failed}"
    return f"works ({time.monotonic() - started:.0f} s)"


def main(names: list[str]) -> int:
    """Tell the stories of the clients named, by default of all; return the exit code."""
    unknown = [name for name in names if name not in CLIENTS]
    if unknown:
        print(f"no such client: {', '.join(unknown)}; there are {', '.join(CLIENTS)}")
        return 2
    results = {}
    with (
        tempfile.TemporaryDirectory(prefix="quorate-clients-") as folder,
        BackgroundCluster(Path(folder) / "data") as cluster,
    ):
        for name in names or CLIENTS:
            results[name] = tell(CLIENTS[name], cluster.http_url, Path(folder))
    print(f"\n{'client':<16}{'version':<12}result")
    for name, result in results.items():
        print(f"{name:<16}{CLIENTS[name].version():<12}{result}")
    return int(any(result.startswith("FAILED") for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
