"""Packets of single processes that vanish: no FIN, no RST, nothing is refused, nobody is told.

Each process has a cgroup; a program of a few instructions at it, which the kernel runs for every
packet, drops them. So it tells processes of one machine apart that share one address, which rules
on addresses and ports cannot do. Needs root, Linux on x86-64 or ARM64, and cgroup v2.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SYSCALL_BPF: Final = {"x86_64": 321, "aarch64": 280}
"""Source: asm/unistd.h."""

PROG_LOAD, PROG_ATTACH, PROG_DETACH = 5, 8, 9
"""Source: linux/bpf.h, enum bpf_cmd."""

CGROUP_SKB: Final = 8
"""Source: linux/bpf.h, BPF_PROG_TYPE_CGROUP_SKB."""

INGRESS, EGRESS = 0, 1
"""Source: linux/bpf.h, BPF_CGROUP_INET_INGRESS and its neighbour."""

ALLOW_MULTI: Final = 2
"""Source: linux/bpf.h, BPF_F_ALLOW_MULTI: a packet passes if all programs let it."""

ATTRIBUTE_BYTES: Final = 120
"""Room for union bpf_attr; what is not used must be zero."""

MOUNTS: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


class CannotCut(Exception):
    """Packets cannot be dropped here; the message says why."""


def _instruction(code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, to | source << 4, offset, value)


def _return(value: int) -> bytes:
    return _instruction(0xB7, value=value) + _instruction(0x95)


DROP_ALL: Final = _return(0)


def _drop_to_port(port: int) -> bytes:
    """Return a program that drops IPv4 packets to a TCP port; their headers have no options."""
    return (
        _instruction(0x61, 2, 1, 76)  # r2 = skb->data: the IP header
        + _instruction(0x61, 3, 1, 80)  # r3 = skb->data_end
        + _instruction(0xBF, 4, 2)
        + _instruction(0x07, 4, value=24)
        + _instruction(0x2D, 4, 3, 4)  # too short for a port: let it pass
        + _instruction(0x69, 4, 2, 22)  # r4 = the destination port
        + _instruction(0x55, 4, offset=2, value=socket.htons(port))
        + _return(0)
        + _return(1)
    )


def _bpf(command: int, attribute: bytes) -> int:
    buffer = ctypes.create_string_buffer(attribute.ljust(ATTRIBUTE_BYTES, b"\0"), ATTRIBUTE_BYTES)
    number = SYSCALL_BPF.get(platform.machine())
    if number is None:
        raise CannotCut(f"the number of bpf(2) on {platform.machine()} is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(number, command, buffer, ATTRIBUTE_BYTES)
    if result < 0:
        raise CannotCut(f"bpf(2): {os.strerror(ctypes.get_errno())}")
    return result


def _load(program: bytes) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"GPL")
    return _bpf(
        PROG_LOAD,
        struct.pack(
            "=IIQQ",
            CGROUP_SKB,
            len(program) // 8,
            ctypes.addressof(code),
            ctypes.addressof(licence),
        ),
    )


class PacketCage:
    """One process's packets. To be entered before the process opens its sockets."""

    def __init__(self, name: str) -> None:
        """Make a cgroup. Raises CannotCut."""
        found = [mount for mount in MOUNTS if (mount / "cgroup.controllers").exists()]
        if not found:
            raise CannotCut("no cgroup v2 is mounted")
        self._path = found[0] / f"quorate-{os.getpid()}-{name}"
        try:
            self._path.mkdir()
        except OSError as error:
            raise CannotCut(f"{self._path}: {error.strerror}") from None
        self._cgroup = os.open(self._path, os.O_RDONLY)
        self._attached: list[tuple[int, int]] = []
        try:
            self.cut_off()  # better now than in the middle
        except CannotCut:
            self.__exit__(None, None, None)
            raise
        self.heal()

    def __enter__(self) -> Self:
        """Return this; the end of the block removes the cgroup."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let everything pass again; the cgroup goes if it is empty."""
        self.heal()
        os.close(self._cgroup)
        with suppress(OSError):
            self._path.rmdir()

    def take_in(self, pid: int) -> None:
        """Put a process that has just started here: sockets it has already are not watched."""
        (self._path / "cgroup.procs").write_text(str(pid))

    def cut_off(self) -> None:
        """Let nothing in or out."""
        for way in (INGRESS, EGRESS):
            self._attach(DROP_ALL, way)

    def cut_to(self, port: int) -> None:
        """Let nothing out to a TCP port: nobody who listens there hears from this process."""
        self._attach(_drop_to_port(port), EGRESS)

    def heal(self) -> None:
        """Let everything pass."""
        for program, way in self._attached:
            _bpf(PROG_DETACH, struct.pack("=IIII", self._cgroup, program, way, 0))
            os.close(program)
        self._attached = []

    def _attach(self, program: bytes, way: int) -> None:
        loaded = _load(program)
        _bpf(PROG_ATTACH, struct.pack("=IIII", self._cgroup, loaded, way, ALLOW_MULTI))
        self._attached.append((loaded, way))
