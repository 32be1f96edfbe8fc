"""Packages that mean harm, installers that never end: each is told by name and leaves nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import uv

from packages.wheels import sdist, wheel
from py_code_mode.errors import DepInstallError
from py_code_mode.models import MIB
from py_code_mode.packages import process
from py_code_mode.packages.contents import close, inspect
from py_code_mode.packages.installer import PackageInstaller


async def fails(installer: PackageInstaller, spec: str, *reasons: str) -> DepInstallError:
    with pytest.raises(DepInstallError) as raised:
        await installer.install(frozenset({spec}))
    error = raised.value
    for reason in reasons:
        assert reason in error.message
    assert "\n" not in error.message
    assert len(error.message) < 500
    return error


def assert_nothing_was_left(cache: Path) -> None:
    assert list((cache / "packages").iterdir()) == []
    assert list((cache / "aside").iterdir()) == []


async def test_a_startup_file_is_not_kept(
    installer: PackageInstaller, links: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    code = f"import os; open({str(mark)!r}, 'w')\n"
    wheel(
        links, "evil", files={"evil.py": "", "evil.pth": code, "evil-1.0.data/purelib/x.pth": code}
    )
    folder = await installer.install(frozenset({"evil"}))
    assert sorted(os.listdir(folder.path)) == ["evil-1.0.dist-info", "evil.py"]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("json", "json/__init__.py"),
        ("json", "json.py"),
        ("json", "json.abi3.so"),
        ("_json", "_json.pyc"),
        ("json", "json/only/data.txt"),
        ("py_code_mode", "py_code_mode/errors.py"),
        ("py_code_mode_guest", "py_code_mode_guest/worker.py"),
        ("msgpack", "msgpack/__init__.py"),
        ("cloudpickle", "evil-1.0.data/platlib/cloudpickle.py"),
        ("site", "evil-1.0.data/data/site.py"),
    ],
)
async def test_a_module_named_like_one_of_pythons_or_ours_is_refused(
    installer: PackageInstaller, links: Path, cache: Path, module: str, file: str
) -> None:
    wheel(links, "evil", files={"evil.py": "", file: "x"})
    wheel(links, "user", requires=["evil"])
    error = await fails(installer, "user", "evil is refused", f"module named {module!r}")
    assert error.fields["package"] == "evil"
    assert_nothing_was_left(cache)


@pytest.mark.parametrize(
    "entry",
    ["../outside.py", "../../outside.py", "/tmp/outside-{}.py", "evil/../../outside.py",
     "evil-1.0.data/purelib/../../../outside.py", "evil-1.0.data/data/../../outside.py",
     "evil-1.0.data/scripts/../../../../outside.py"],
)  # fmt: skip
async def test_a_path_that_leads_out_writes_nothing_there(
    installer: PackageInstaller, links: Path, cache: Path, tmp_path: Path, entry: str
) -> None:
    entry = entry.format(tmp_path.name)
    wheel(links, "evil", files={"evil.py": "", entry: "x"})
    try:
        folder = await installer.install(frozenset({"evil"}))
    except DepInstallError:
        assert_nothing_was_left(cache)
        return
    finally:
        kept = cache / "packages"
        outside = [p for p in tmp_path.rglob("outside*") if not p.is_relative_to(kept)]
        assert [p for p in outside if not p.is_relative_to(cache / "downloads")] == []
        assert not Path(f"/tmp/outside-{tmp_path.name}.py").exists()
    assert set(os.listdir(Path(folder.path).parent)) == {"resolved.txt", "site-packages"}


async def test_a_link_in_a_wheel_is_no_link_when_installed(
    installer: PackageInstaller, links: Path
) -> None:
    wheel(links, "evil", links={"evil_link.py": "/etc/passwd"})
    folder = await installer.install(frozenset({"evil"}))
    assert [path for path in Path(folder.path).rglob("*") if path.is_symlink()] == []
    assert "root" not in Path(folder.path, "evil_link.py").read_text()


def installed(site: Path) -> Path:
    info = site / "evil-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text("evil/x,,\nevil/deep/x,,\n")
    (site / "evil" / "deep").mkdir(parents=True)
    return site / "evil" / "deep" / "x"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../evil", "missing"])
def test_a_link_that_an_installer_left_is_refused(tmp_path: Path, target: str) -> None:
    installed(tmp_path / "site").symlink_to(target)
    with pytest.raises(DepInstallError, match=r"evil is refused: .*'evil/deep/x', which is a link"):
        inspect(str(tmp_path / "site"))


def test_anything_but_files_and_folders_is_refused(tmp_path: Path) -> None:
    os.mkfifo(installed(tmp_path / "site"))
    with pytest.raises(DepInstallError, match="which is no plain file"):
        inspect(str(tmp_path / "site"))


def test_rights_of_the_owner_do_not_pass_on(tmp_path: Path) -> None:
    path = installed(tmp_path / "site")
    path.write_text("x")
    path.chmod(0o6755)
    assert inspect(str(tmp_path / "site")) == ("evil==1.0",)
    close(str(tmp_path / "site"))
    assert path.stat().st_mode & 0o7777 == 0o444


async def test_each_failure_names_the_package_and_the_reason(
    installer: PackageInstaller, links: Path, cache: Path
) -> None:
    sdist(links, "source")
    wheel(links, "sourceuser", requires=["source"])
    wheel(links, "low", "1.0")
    wheel(links, "lowuser", requires=["low>=2"])
    wheel(links, "later", metadata="Requires-Python: >=3.99\n")
    wheel(links, "windows", tag="cp39-cp39-win_amd64")
    wheel(links, "byurl", requires=["low @ https://127.0.0.1:1/low-1.0-py3-none-any.whl"])
    (links / "broken-1.0-py3-none-any.whl").write_bytes(b"no zip")
    wheel(links, "twice", files={"json-9.dist-info/METADATA": "Name: json\nVersion: 9\n"})
    expected = {
        "missing": ["missing could not be installed: there is no such package. Nothing was"],
        "source": ["source could not", "it has no wheel, and building from source is off"],
        "sourceuser": ["source could not", "it has no wheel", "(needed by sourceuser)"],
        "low>=3": ["low could not", "no version fits >=3; there is ==1.0"],
        "low==3": ["low could not", "no version fits ==3"],
        "low<1,>=1": ["low could not", "the versions conflict"],
        "lowuser": ["low", "low>=2"],
        "later": ["later could not", "it requires Python >=3.99"],
        "windows": ["windows could not", "it has no wheel for this platform"],
        "byurl": ["byurl could not", "it depends on low by a URL, which is not accepted"],
        "broken": ["broken could not", "its file is broken"],
        "twice": ["twice could not", "its file is broken", "Multiple .dist-info"],
        "low[fast]": ["low could not", "it has no extra 'fast'"],
    }
    for spec, reasons in expected.items():
        error = await fails(installer, spec, *reasons)
        assert str(links) not in error.message
        assert set(error.fields) == {"package", "reason"}
    assert_nothing_was_left(cache)
    assert (await installer.install(frozenset({"low"}))).resolved == ("low==1.0",)


async def test_two_packages_that_do_not_fit_are_both_named(
    installer: PackageInstaller, links: Path
) -> None:
    wheel(links, "low", "1.0")
    wheel(links, "low", "2.0")
    wheel(links, "old", requires=["low<2"])
    wheel(links, "new", requires=["low>=2"])
    with pytest.raises(DepInstallError, match=r"new, old .*conflict.*depend on low") as raised:
        await installer.install(frozenset({"old", "new"}))
    assert raised.value.fields["package"] == "new, old"


async def test_an_index_that_does_not_answer_is_told_without_its_address(cache: Path) -> None:
    environ = {
        "UV_DEFAULT_INDEX": "http://user:hidden@127.0.0.1:1/simple",
        "UV_HTTP_RETRIES": "0",
    }
    installer = PackageInstaller(cache, environ=environ)
    error = await fails(installer, "one", "one could not", "index could not be reached")
    assert "127.0.0.1" not in error.message
    assert "hidden" not in error.message


def pretend(monkeypatch: pytest.MonkeyPatch, path: Path, script: str) -> None:
    """Put a shell script in uv's place."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(uv, "find_uv_bin", lambda: str(path))


async def ended(pids: list[int]) -> None:
    """Wait until none of these processes exists; what is reaped by init may take a moment."""
    async with asyncio.timeout(5):
        while any(running(pid) for pid in pids):
            await asyncio.sleep(0.02)


def running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(") ")[2][0] != "Z"


async def pids_in(path: Path) -> list[int]:
    async with asyncio.timeout(10):
        while not path.exists() or len(path.read_text().split()) < 2:
            await asyncio.sleep(0.02)
    return [int(pid) for pid in path.read_text().split()]


async def test_time_out_ends_the_whole_group(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    pretend(monkeypatch, tmp_path / "uv", f"(sleep 60 & echo $! $$ > {pids}; wait)")
    installer = PackageInstaller(cache, environ={}, timeout_s=0.5)
    await fails(installer, "one", "one could not be installed: it took longer than 0.5 s")
    await ended(await pids_in(pids))
    assert_nothing_was_left(cache)


async def test_a_cancelled_installation_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    script = f"echo x > $TMPDIR/x; (sleep 60 & echo $! $$ > {pids}; wait)"
    pretend(monkeypatch, tmp_path / "uv", script)
    task = asyncio.create_task(PackageInstaller(cache, environ={}).install(frozenset({"one"})))
    started = await pids_in(pids)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended(started)
    assert_nothing_was_left(cache)


async def test_what_fills_the_disk_is_ended(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "while :; do i=x$i; head -c 1000000 /dev/zero > $TMPDIR/$i; done"
    pretend(monkeypatch, tmp_path / "uv", script)
    installer = PackageInstaller(cache, environ={}, max_mb=5)
    await fails(installer, "one", "it takes more than 5 MB")
    assert_nothing_was_left(cache)
    # At once and far out: nothing that the watch would see first. Limits are set as it starts.
    script = "sleep 0.2; exec dd if=/dev/zero of=$TMPDIR/x bs=1 count=1 seek=9000000"
    pretend(monkeypatch, tmp_path / "uv", script)
    await fails(installer, "one", "it has a file of more than 5 MB")
    assert_nothing_was_left(cache)


async def test_a_package_over_the_limit_is_refused(cache: Path, links: Path) -> None:
    wheel(links, "bomb", files={f"bomb/{n}": "0" * 1_000_000 for n in range(4)})
    installer = PackageInstaller(cache, environ={}, find_links=[links], offline=True, max_mb=3)
    await fails(installer, "bomb", "bomb could not be installed: it takes more than 3 MB")
    assert_nothing_was_left(cache)


async def test_endless_output_ends_the_installer(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path / "uv", "exec yes 'error: a very long story' >&2")
    await fails(PackageInstaller(cache, environ={}), "one", "uv was ended by signal 9")


async def test_no_uv_is_said_with_what_to_do(
    installer: PackageInstaller, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise FileNotFoundError("nowhere")

    monkeypatch.setattr(uv, "find_uv_bin", missing)
    await fails(installer, "one", "uv is missing", "python -m pip install uv")
    monkeypatch.setattr(uv, "find_uv_bin", lambda: str(tmp_path / "gone"))
    await fails(installer, "one", "uv could not be started: No such file or directory")
    assert_nothing_was_left(cache)


async def test_a_source_that_takes_all_memory_to_compile_is_left_as_it_is(
    cache: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_MAX_MEMORY", 200 * MIB)
    wheel(links, "greedy", files={"greedy.py": f"x = [{'1,' * 1_000_000}]\n"})
    installer = PackageInstaller(cache, environ={}, find_links=[links], offline=True)
    folder = await installer.install(frozenset({"greedy"}))
    assert not list(Path(folder.path).rglob("greedy*.pyc"))
