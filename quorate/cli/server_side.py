"""Which subcommands are the server's, and what is told where only the client is installed."""

from __future__ import annotations

from importlib.util import find_spec

from quorate import __version__
from quorate.cli.exits import Exit, fail


def need_server(command: str) -> None:
    """End the command with what to install, unless the server is here.

    It is told by a module of ours: `node` and `router` may be somebody else's packages.
    """
    if find_spec("quorate.http") is None:
        fail(
            f"{command} is a part of the server, and here is the client alone: install"
            f" quorate-server=={__version__}, in an environment of its own",
            Exit.REFUSED,
        )
    if find_spec("lmdb") is None:  # an editable install of the tree, without the extra
        fail(
            f"{command} is a part of the server, whose dependencies are not here:"
            " pip install -e '.[server-dependencies]'",
            Exit.REFUSED,
        )
