"""Which file system a path lies on, and whether SQLite can be trusted there."""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = re.compile(
    r"nfs\d*|cifs|smb\w*|afs|ceph|lustre|gpfs|beegfs|glusterfs|ocfs2|gfs2|pvfs2|ncpfs"
    r"|fuse\.(sshfs|glusterfs|ceph\S*|s3fs|s3ql|goofys|gcsfuse|rclone|mount-s3|blobfuse2?|juicefs|davfs2?|curlftpfs|smbnetfs)"
)
"""File systems that several machines may have mounted: their locks and shared memory do not span machines."""


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that `path` lies on, None for a local or unknown one.

    `mounts` is the text of /proc/self/mountinfo, read when not given.
    """
    kind = _type_of(path.resolve(), _read_mounts() if mounts is None else mounts)
    return kind if _NETWORK.fullmatch(kind) else None


def _read_mounts() -> str:
    try:
        return _MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return ""


def _type_of(path: Path, mounts: str) -> str:
    """The deepest mount point above the path counts, and of equals the latest, which hides the others."""
    depth, kind = -1, ""
    for line in mounts.splitlines():
        point, found = _parse(line)
        if len(point.parts) >= depth and path.is_relative_to(point):
            depth, kind = len(point.parts), found
    return kind


def _parse(line: str) -> tuple[Path, str]:
    before, _, after = line.partition(" - ")
    escaped = before.split(" ")[4]
    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), escaped)
    return Path(point), after.split(" ")[0]
