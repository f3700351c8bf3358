"""The options of `quorate node` and `quorate router`, as the command itself has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from quorate.cli.main import app
from quorate.security.cluster_certificate import ClusterPaths


def certificate_of(said: dict[str, list[str]]) -> ClusterPaths:
    """Return the files that a process is told to show; all three, else this fails."""
    ca, certificate, key = (
        Path(said[option][0]) for option in ("--cluster-ca", "--cluster-cert", "--cluster-key")
    )
    return ClusterPaths(ca=ca, certificate=certificate, key=key)


@cache
def options_of(command: str) -> dict[str, bool]:
    """Return the names of a subcommand's options, each with whether it takes a value."""
    group: Any = typer.main.get_command(app)
    return {
        name: not parameter.is_flag
        for parameter in group.commands[command].params
        for name in parameter.opts
        if name.startswith("--")
    }


def parsed(arguments: list[str]) -> dict[str, list[str]]:
    """Return the values by option of `--name=value`, with "" for a flag."""
    values: dict[str, list[str]] = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        values.setdefault(name, []).append(value)
    return values


def check_options(command: str, arguments: list[str]) -> dict[str, list[str]]:
    """Return what `arguments` say, after looking that the command takes them."""
    known = options_of(command)
    values = parsed(arguments)
    assert set(values) <= set(known), f"quorate {command} has no {set(values) - set(known)}"
    for name, said in values.items():
        assert all(said) == known[name], f"quorate {command} {name}: {said}"
    return values
