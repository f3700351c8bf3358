"""An ext4 file system in a file, whose power can be cut. Needs root and loop devices."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

EXT4_IOC_SHUTDOWN: Final = 0x8004587D
"""_IOR('X', 125, u32). Source: the kernel's fs/ext4/ext4.h."""

GOING_FLAGS_NOLOGFLUSH: Final = 2
"""Stop at once, and do not write the journal. Source: same."""

MIB: Final = 1 << 20


def why_unavailable(folder: Path) -> str | None:
    """Return why this machine cannot make such disks, None if it can: one is tried in `folder`."""
    if os.geteuid() != 0:
        return "loop devices need root"
    for tool in ("mkfs.ext4", "losetup", "mount", "umount"):
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    try:
        disk = LoopDisk(folder / "image", folder / "disk", size_mib=8)
        try:
            disk.cut_power()
            disk.power_on()
        finally:
            disk.close()
    except (OSError, RuntimeError) as error:
        return str(error)
    return None


class LoopDisk:
    """One disk, mounted at `mount_point` until `close`."""

    def __init__(self, image: Path, mount_point: Path, *, size_mib: int = 256) -> None:
        self.mount_point = mount_point
        self._mounted = False
        with image.open("wb") as file:
            file.truncate(size_mib * MIB)
        # Without lazy initialisation: the kernel would go on writing after the mount.
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", lazy, str(image))
        mount_point.mkdir(parents=True, exist_ok=True)
        self._device = _run("losetup", "--find", "--show", str(image)).strip()
        try:
            self.mount()
        except BaseException:
            self.close()
            raise

    def mount(self) -> None:
        # The journal would otherwise be written every 5 s, and save what nobody synced.
        _run("mount", "-t", "ext4", "-o", "commit=300", self._device, str(self.mount_point))
        self._mounted = True

    def cut_power(self) -> None:
        """Forget what was not synced; every later access fails with EIO."""
        descriptor = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flags = struct.pack("=I", GOING_FLAGS_NOLOGFLUSH)
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, flags)
        finally:
            os.close(descriptor)

    def power_on(self) -> None:
        """Mount again what the power cut has left. Nobody may have a file open."""
        self.unmount()
        self.mount()

    def unmount(self) -> None:
        if self._mounted:
            _run("umount", str(self.mount_point))
            self._mounted = False

    def close(self) -> None:
        """Unmount and detach, whoever still has a file open. Harmless when done already."""
        if self._mounted:
            _run("umount", "--lazy", str(self.mount_point))
            self._mounted = False
        if self._device:
            _run("losetup", "--detach", self._device)
            self._device = ""


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
