"""No version is loaded that would leave too little memory, and all workers decide alike."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from serinus.models import Field, Signature
from serinus.models.version import ModelVersion
from serinus.serving import memory as module
from serinus.serving.memory import Admissions, Memory, NotEnoughMemory, estimated_bytes, memory, resident_bytes

GB = 10**9
MIB = 2**20
MEMINFO = "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:    8388608 kB\n"
HOST = Memory(16 * 2**30, 8 * 2**30)


def version(folder: Path, size: int, adapter: str = "sklearn", data: bytes = b"\x80\x04",
            name: str = "m") -> ModelVersion:
    path = folder / ("model.onnx" if adapter == "onnx" else "model.joblib")
    path.write_bytes(data)
    signature = Signature((Field("x", "FP64", (-1,)),), (Field("y", "FP64", (-1,)),))
    return ModelVersion(name, "2", adapter, "sha256:0", "", folder, path.name, signature, size=size)


def host(folder: Path, groups: str, **files: str) -> Memory:
    """A host with 16 GiB, 8 of them available, and a process in these control groups. In file names `__` stands for
    a slash and `memory-` for `memory.`."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "meminfo").write_text(MEMINFO)
    (folder / "proc" / "self" / "cgroup").write_text(groups)
    for name, text in files.items():
        path = folder / "cgroup" / name.replace("__", "/").replace("memory-", "memory.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return memory(folder / "proc", folder / "cgroup")


# What there is


def test_a_host_without_limits(tmp_path: Path) -> None:
    """What the kernel says is available; a group without a limit says nothing."""
    assert host(tmp_path, "0::/user.slice\n", **{
        "user.slice__memory-max": "max\n", "user.slice__memory-current": "5", "user.slice__memory-stat": ""}) == HOST


def test_a_kernel_without_control_groups(tmp_path: Path) -> None:
    """There is no file that lists them."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    assert memory(tmp_path, tmp_path / "none") == HOST


def test_version_2_of_control_groups(tmp_path: Path) -> None:
    """The limit less what is used, without the cache that the kernel can drop; the narrowest group around counts."""
    files = {"memory-max": "1073741824", "memory-current": str(600 * MIB),
             "memory-stat": f"anon 1\ninactive_file {100 * MIB}\n"}
    found = host(tmp_path, "0::/pod/container\n", **{
        **{f"pod__{name}": text for name, text in files.items()},
        "pod__container__memory-max": "max", "pod__container__memory-current": "1", "pod__container__memory-stat": ""})
    assert found == Memory(1024 * MIB, 524 * MIB)


def test_version_1_of_control_groups(tmp_path: Path) -> None:
    """The same by its older names, where a container sees its own group as the root of the tree."""
    found = host(tmp_path, "5:cpu:/x\n4:memory:/docker/abc\n", **{
        "memory__memory-limit_in_bytes": str(512 * MIB), "memory__memory-usage_in_bytes": str(200 * MIB),
        "memory__memory-stat": f"total_inactive_file {50 * MIB}\n"})
    assert found == Memory(512 * MIB, 362 * MIB)


def test_no_limit_in_version_1_is_a_large_number(tmp_path: Path) -> None:
    """It does not raise what the host has."""
    assert host(tmp_path, "4:memory:/\n", **{
        "memory__memory-limit_in_bytes": "9223372036854771712", "memory__memory-usage_in_bytes": "0",
        "memory__memory-stat": ""}) == HOST


def test_this_host() -> None:
    """The numbers are those of the machine that runs the test."""
    found = memory()
    assert 0 < found.available <= found.limit
    assert 10 * MIB < resident_bytes() < found.limit


# What is needed


def test_the_estimate_by_kind_of_file(tmp_path: Path) -> None:
    """Compressed files and tree ensembles in ONNX take many times their size."""
    assert estimated_bytes(version(tmp_path, 100)) == 300
    assert estimated_bytes(version(tmp_path, 100, data=b"\x78\x9c")) == 1000
    assert estimated_bytes(version(tmp_path, 100, "onnx", b"MatMul")) == 200
    assert estimated_bytes(version(tmp_path, 100, "onnx", b"..TreeEnsembleClassifier..")) == 1300
    assert estimated_bytes(version(tmp_path, 100, "xgboost")) == 300


@pytest.mark.parametrize("compress", [0, 3])
def test_the_estimate_is_not_far_from_the_truth(tmp_path: Path, compress: int) -> None:
    """A forest's process grows by no more than was said, and by no less than a third of it."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(6000, 8))
    forest = RandomForestClassifier(40, random_state=1).fit(rows, rng.integers(0, 2, 6000))
    stream = io.BytesIO()
    joblib.dump(forest, stream, compress=compress)
    path = tmp_path / "model.joblib"
    said = estimated_bytes(version(tmp_path, len(stream.getvalue()), data=stream.getvalue()))
    script = ("import sys, joblib, sklearn.ensemble\nfrom serinus.serving.memory import resident_bytes\n"
              "before = resident_bytes()\nmodel = joblib.load(sys.argv[1])\nprint(resident_bytes() - before)")
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2])
    assert said / 3 < int(done.stdout) < 1.1 * said


# Who decides


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> list[Memory]:
    """Ten of sixteen gigabytes are there, as long as the test says nothing else; what was looked at is kept."""
    looks: list[Memory] = []

    def look() -> Memory:
        looks.append(Memory(16 * GB, 10 * GB))
        return looks[-1]

    monkeypatch.setattr(module, "memory", look)
    return looks


def test_what_leaves_enough_is_admitted(tmp_path: Path, roomy: list[Memory]) -> None:
    """7.6 GB of 10 leave 15 % of 16 GB."""
    Admissions(tmp_path / "a.json", 0.15).ask(version(tmp_path, 630_000_000), 4)


def test_what_leaves_too_little_is_refused_with_the_sum(tmp_path: Path, roomy: list[Memory]) -> None:
    """One sentence says what is needed, what is there and what to do."""
    with pytest.raises(NotEnoughMemory) as caught:
        Admissions(tmp_path / "a.json", 0.15).ask(version(tmp_path, 700_000_000), 4)
    assert str(caught.value) == (
        "m:2 needs about 2100 MB in each of 4 processes, 8400 MB together; of 10000 MB available that would leave 1600 "
        "MB, and 15% of the limit of 16000 MB have to stay free: use fewer workers, or lower limits.memory_reserve.")


def test_the_first_decides_for_all(tmp_path: Path, roomy: list[Memory]) -> None:
    """The others find less available, since the first has loaded; they do not look again."""
    wanted = version(tmp_path, 630_000_000)
    for _ in range(4):
        Admissions(tmp_path / "a.json", 0.15).ask(wanted, 4)
    assert len(roomy) == 1
    Admissions(tmp_path / "a.json", 0.15).ask(wanted, 4, anew=True)
    assert len(roomy) == 2


def test_why_a_version_was_refused_can_be_asked(tmp_path: Path, roomy: list[Memory]) -> None:
    """Empty for one that was admitted, or never asked for."""
    admissions = Admissions(tmp_path / "a.json", 0.15)
    with pytest.raises(NotEnoughMemory) as caught:
        admissions.ask(version(tmp_path, 700_000_000), 4)
    assert (admissions.refusal("m:2"), admissions.refusal("m:3")) == (str(caught.value), "")


def test_a_refusal_holds_for_all_too(tmp_path: Path, roomy: list[Memory]) -> None:
    """No worker answers what the others refuse."""
    wanted = version(tmp_path, 3 * GB)
    for _ in range(3):
        with pytest.raises(NotEnoughMemory):
            Admissions(tmp_path / "a.json", 0.15).ask(wanted, 1)
    assert len(roomy) == 1


def test_what_was_measured_counts_more_than_the_estimate(tmp_path: Path, roomy: list[Memory]) -> None:
    """The largest growth that any worker saw."""
    admissions = Admissions(tmp_path / "a.json", 0.15)
    wanted = version(tmp_path, 10_000_000)
    admissions.ask(wanted, 2)
    for grew in (6 * GB, 5 * GB, -3):
        admissions.learn(wanted, grew)
    with pytest.raises(NotEnoughMemory, match=r"6000 MB in each of 2 processes.* would be 2000 MB too much"):
        admissions.ask(wanted, 2, anew=True)


def test_small_ones_always_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full host a model of some megabytes is not to blame; nor is anything refused without a reserve."""
    monkeypatch.setattr(module, "memory", lambda: Memory(16 * GB, GB))
    Admissions(tmp_path / "a.json", 0.15).ask(version(tmp_path, 10_000_000), 4)
    Admissions(tmp_path / "b.json", 0.0).ask(version(tmp_path, 5 * GB), 4)
    with pytest.raises(NotEnoughMemory):
        Admissions(tmp_path / "a.json", 0.15).ask(version(tmp_path, 100_000_000, name="n"), 4)
