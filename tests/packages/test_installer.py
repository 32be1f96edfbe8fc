"""A set of packages is installed once, whole, read-only, and the same for everybody."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from packages.wheels import sdist, wheel
from py_code_mode.errors import ConfigurationError, DepInstallError, InvalidDepError
from py_code_mode.models import Program, ProgramEnd
from py_code_mode.packages.folders import PackageFolder
from py_code_mode.packages.installer import PackageInstaller


def specs(*texts: str) -> frozenset[str]:
    return frozenset(texts)


def cached(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "packages").iterdir())


async def test_packages_come_with_what_they_need_in_the_versions_asked_for(
    installer: PackageInstaller, links: Path
) -> None:
    wheel(links, "low", "1.0")
    wheel(links, "low", "1.5")
    wheel(links, "low", "2.0")
    wheel(links, "top", requires=["low; extra == 'more'"], extras=["more"])
    folder = await installer.install(specs("Top[more]", "low >= 1, < 2"))
    assert folder.resolved == ("low==1.5", "top==1.0")
    assert sorted(name for name in os.listdir(folder.path) if name.endswith(".py")) == [
        "low.py",
        "top.py",
    ]
    assert "1.5" in Path(folder.path, "low.py").read_text()


async def test_a_set_is_installed_once_however_it_is_written(
    installer: PackageInstaller, links: Path, cache: Path
) -> None:
    wheel(links, "one")
    wheel(links, "two")
    first = await installer.install(specs("one", "two>=1,<2"))
    for path in links.iterdir():
        path.unlink()
    assert await installer.install(specs("Two <2, >=1", "ONE")) == first
    assert await installer.find(specs("one", "two>=1,<2")) == first
    assert await installer.holds(first)
    assert await installer.find(specs("one")) is None
    assert cached(cache) == [Path(first.path).parent.name]


async def test_files_are_readable_to_all_and_writable_to_nobody(
    installer: PackageInstaller, links: Path
) -> None:
    wheel(links, "one", files={"one/__init__.py": "", "one/data/x.bin": "x"})
    umask = os.umask(0o077)
    try:
        folder = await installer.install(specs("one"))
    finally:
        os.umask(umask)
    site = Path(folder.path)
    assert {path.stat().st_mode & 0o7777 for path in site.rglob("*") if path.is_file()} == {0o444}
    folders = [site, *(path for path in site.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o7777 for path in folders} == {0o555}
    assert site.parent.stat().st_mode & 0o7777 == 0o755
    assert Path(installer.readable_folder()).stat().st_mode & 0o7777 == 0o755
    assert site.parent.parent == Path(installer.readable_folder())


async def test_an_earlier_resolution_is_installed_again(
    installer: PackageInstaller, links: Path, tmp_path: Path
) -> None:
    wheel(links, "low", "1.0")
    first = await installer.install(specs("low"))
    wheel(links, "low", "2.0")
    other = PackageInstaller(tmp_path / "other", environ={}, find_links=[links], offline=True)
    again = await other.install(specs("low"), constraints=first.resolved)
    assert again.resolved == ("low==1.0",)
    assert await other.find(specs("low"), constraints=first.resolved) == again
    assert (await other.install(specs("low"))).resolved == ("low==2.0",)
    assert await other.install(specs("low"), constraints=first.resolved) == again
    assert await installer.install(specs("low"), constraints=first.resolved) == first


@pytest.mark.parametrize("line", ["low", "low>=1", "low==1\n-r x", "-r x", "low @ https://x", ""])
async def test_a_constraint_is_a_name_and_a_version(installer: PackageInstaller, line: str) -> None:
    with pytest.raises(InvalidDepError, match="is not of the form name==version"):
        await installer.install(specs("low"), constraints=(line,))


async def test_what_the_guest_brings_is_not_installed_again(
    installer: PackageInstaller, links: Path
) -> None:
    wheel(links, "dask", requires=["cloudpickle>=3", "msgpack"])
    assert (await installer.install(specs("dask"))).resolved == ("dask==1.0",)


async def test_bytecode_is_compiled_where_sessions_cannot_keep_their_own(
    cache: Path, links: Path
) -> None:
    wheel(links, "one", files={"one/__init__.py": "", "one/python2.py": "print 1"})
    wheel(links, "two")
    installer = PackageInstaller(cache, environ={}, find_links=[links], offline=True)
    first = compiled(await installer.install(specs("one")))
    both = compiled(await installer.install(specs("one", "two")))
    assert sorted(first) == [f"one/__pycache__/__init__.{TAG}.pyc"]
    assert sorted(both) == [f"__pycache__/two.{TAG}.pyc", f"one/__pycache__/__init__.{TAG}.pyc"]
    assert first.items() < both.items(), "what was compiled once is linked"


TAG = sys.implementation.cache_tag


def compiled(folder: PackageFolder) -> dict[str, int]:
    """Return the bytecode files of a folder with their inodes."""
    found = Path(folder.path).rglob("*.pyc")
    return {path.relative_to(folder.path).as_posix(): path.stat().st_ino for path in found}


COUNTED = """
    import asyncio, sys
    from py_code_mode.packages.installer import PackageInstaller
    from py_code_mode.packages.process import run_program

    async def run(program, writable):
        with open(sys.argv[3], "a") as file:
            file.write("installed\\n")
        await asyncio.sleep(0.5)
        return await run_program(program, writable, max_file_bytes=1 << 30)

    async def main():
        installer = PackageInstaller(
            sys.argv[1], environ={}, find_links=[sys.argv[2]], offline=True, run=run,
            compile_bytecode=False,
        )
        folders = await asyncio.gather(*(installer.install(frozenset({"one"})) for _ in range(3)))
        print(*{folder.path for folder in folders})

    asyncio.run(main())
"""


def test_processes_and_tasks_share_one_installation(
    cache: Path, links: Path, tmp_path: Path
) -> None:
    wheel(links, "one")
    script, log = tmp_path / "install.py", tmp_path / "log"
    script.write_text(dedent(COUNTED))
    command = [sys.executable, *map(str, (script, cache, links, log))]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=50) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert len({stdout for stdout, _ in answers}) == 1
    assert log.read_text() == "installed\n"


async def test_leftovers_and_unused_folders_are_swept(
    installer: PackageInstaller, links: Path, cache: Path
) -> None:
    wheel(links, "one")
    wheel(links, "two")
    old = Path((await installer.install(specs("one"))).path).parent
    os.utime(old / "resolved.txt", (0, 0))
    crashed = cache / "aside" / "crashed" / "entry"
    crashed.mkdir(parents=True)
    (crashed / "file").write_text("x")
    crashed.chmod(0o555)
    new = await installer.install(specs("two"))
    assert cached(cache) == [Path(new.path).parent.name]
    assert list((cache / "aside").iterdir()) == []


async def test_a_folder_in_use_is_kept(
    installer: PackageInstaller, links: Path, cache: Path
) -> None:
    wheel(links, "one")
    wheel(links, "two")
    old = await installer.install(specs("one"))
    os.utime(Path(old.path).parent / "resolved.txt", (0, 0))
    assert await installer.find(specs("one")) == old
    await installer.install(specs("two"))
    assert len(cached(cache)) == 2


async def test_downloads_beyond_the_limit_are_dropped(links: Path, cache: Path) -> None:
    wheel(links, "one")
    installer = PackageInstaller(cache, environ={}, find_links=[links], offline=True, max_mb=1)
    installer.readable_folder()
    (cache / "downloads" / "old").write_bytes(bytes(2_000_000))
    await installer.install(specs("one"))
    assert not (cache / "downloads" / "old").exists()


async def test_a_folder_broken_by_hand_is_made_again(
    installer: PackageInstaller, links: Path
) -> None:
    wheel(links, "one")
    folder = await installer.install(specs("one"))
    Path(folder.path).parent.joinpath("resolved.txt").unlink()
    assert await installer.find(specs("one")) is None
    assert await installer.install(specs("one")) == folder
    assert Path(folder.path, "one.py").exists()


async def test_uv_sees_the_variables_made_for_it_and_no_others(cache: Path) -> None:
    seen: list[Program] = []

    async def run(program: Program, _writable: object) -> ProgramEnd:
        seen.append(program)
        return ProgramEnd(1, b"", b"error: nothing")

    environ = {
        "REDIS_URL": "redis://:secret@x",
        "UV_DEFAULT_INDEX": "https://user:hidden@127.0.0.1/simple",
        "UV_CACHE_DIR": "/tmp/elsewhere",
        "UV_CONFIG_FILE": "/etc/uv.toml",
        "PATH": "/secret/bin",
    }
    installer = PackageInstaller(cache, environ=environ, run=run)
    with pytest.raises(DepInstallError):
        await installer.install(specs("one"))
    (program,) = seen
    home = program.env["HOME"]
    assert Path(home).is_relative_to(cache / "aside")
    assert program.env == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "UV_CACHE_DIR": str(cache / "downloads"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_DEFAULT_INDEX": "https://user:hidden@127.0.0.1/simple",
    }
    assert not any("hidden" in argument for argument in program.argv)


async def test_a_build_needs_a_session_and_says_so(cache: Path, links: Path) -> None:
    sdist(links, "source")
    installer = PackageInstaller(
        cache, environ={}, find_links=[links], offline=True, allow_build=True
    )
    with pytest.raises(DepInstallError, match="it has no wheel, and nothing is open in which"):
        await installer.install(specs("source"))


def test_a_cache_that_others_can_write_is_refused(cache: Path, links: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(ConfigurationError, match="can be written by others"):
        PackageInstaller(cache, environ={}, find_links=[links]).readable_folder()
    assert list(cache.iterdir()) == []
    cache.rmdir()
    cache.symlink_to(links)
    with pytest.raises(ConfigurationError, match="is not a folder"):
        PackageInstaller(cache, environ={}, find_links=[links]).readable_folder()


@pytest.mark.root
def test_a_cache_of_another_user_is_refused(cache: Path) -> None:
    cache.mkdir()
    os.chown(cache, 1, 1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        PackageInstaller(cache, environ={}).readable_folder()


async def test_who_waits_too_long_for_another_installation_is_told(
    cache: Path, links: Path
) -> None:
    wheel(links, "one")
    started = asyncio.Event()

    async def run(_program: object, _writable: object) -> ProgramEnd:
        started.set()
        await asyncio.sleep(60)
        raise AssertionError

    slow = PackageInstaller(cache, environ={}, run=run)
    task = asyncio.create_task(slow.install(specs("one")))
    await started.wait()
    quick = PackageInstaller(cache, environ={}, find_links=[links], offline=True, timeout_s=0.2)
    with pytest.raises(DepInstallError, match=r"another installation .* after 0\.2 s"):
        await quick.install(specs("one"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert list((cache / "aside").iterdir()) == []
    patient = PackageInstaller(cache, environ={}, find_links=[links], offline=True)
    assert (await patient.install(specs("one"))).resolved == ("one==1.0",)
