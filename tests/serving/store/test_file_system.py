"""Network file systems are told from local ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.serving.store.file_system import network_file_system

MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /home rw shared:1 - nfs4 server:/home rw
31 30 0:41 / /home/ana/local rw - xfs /dev/vdb rw
32 22 0:42 / /mnt/with\040space rw - fuse.sshfs ana@host: rw
33 22 0:43 / /data rw - ext4 /dev/vdc rw
34 22 0:44 / /data rw - cifs //server/data rw
35 22 0:45 / /mnt/fuse rw - fuse.bindfs /x rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/store.db", None),
        ("/home/store.db", "nfs4"),
        ("/homes/store.db", None),
        ("/home/ana/local/store.db", None),
        ("/mnt/with space/store.db", "fuse.sshfs"),
        ("/data/store.db", "cifs"),
        ("/mnt/fuse/store.db", None),
    ],
)
def test_the_deepest_and_latest_mount_counts(path: str, expected: str | None) -> None:
    """A path lies on the mount that is nearest to it and hides the others."""
    assert network_file_system(Path(path), MOUNTS) == expected


def test_without_a_list_of_mounts_nothing_is_refused() -> None:
    """Where the system does not tell, we do not guess."""
    assert network_file_system(Path("/home/store.db"), "") is None
