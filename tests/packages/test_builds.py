"""Packages that are built from source: what that gives, and what their authors get out of it."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest
import pytest_asyncio

import py_code_mode
from packages.wheels import installed_wheel, sdist, wheel
from py_code_mode.errors import DepInstallError
from py_code_mode.models import Limits
from py_code_mode.packages.folders import PackageFolder
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.workers.builds import Builds
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = f"BUILD_CANARY_{secrets.token_hex(8)}"
LIMITS = Limits(pool_size=0, disk_mb=24, max_file_mb=16, memory_mb=256)
#: Seconds that what a build leaves behind would sleep, by which it is found again.
MARK = 36544
SETUPTOOLS = [
    *Path("/usr/share/python-wheels").glob("setuptools-*.whl"),
    *Path(os.__file__).parent.glob("ensurepip/_bundled/setuptools-*.whl"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    async with Pool(ZygoteConfig(root="/tmp/py-code-mode-test", limits=LIMITS)) as opened:
        yield opened


@pytest.fixture
def builder(cache: Path, links: Path, pool: Pool) -> Iterator[PackageInstaller]:
    with building(cache, links, pool) as installer:
        yield installer


@contextmanager
def building(
    cache: Path, links: Path, pool: Pool, timeout_s: float = 60, max_mb: int = 64
) -> Iterator[PackageInstaller]:
    installer = PackageInstaller(
        cache,
        environ={"UV_INDEX_OURS_PASSWORD": CANARY, "CONTAINER_AUTH_TOKEN": CANARY},
        find_links=[links],
        offline=True,
        allow_build=True,
        compile_bytecode=False,
        timeout_s=timeout_s,
        max_mb=max_mb,
    )
    with installer.building_in(Builds(pool, disk_mb=LIMITS.disk_mb)):
        yield installer


async def install(installer: PackageInstaller, *specs: str) -> PackageFolder:
    return await installer.install(frozenset(specs))


def report_of(folder: PackageFolder, name: str) -> object:
    """What the build of a package has seen, as it wrote it into its module."""
    found: dict[str, object] = {}
    exec(Path(folder.path, f"{name}.py").read_text(), found)
    return found["report"]


async def fails(installer: PackageInstaller, cache: Path, spec: str, *reasons: str) -> str:
    """Assert that it fails by name, leaves nothing, and that the next package installs."""
    with pytest.raises(DepInstallError) as raised:
        await install(installer, spec)
    message = raised.value.message
    for reason in (f"{spec} could not be installed", *reasons):
        assert reason in message
    assert "\n" not in message
    assert len(message) < 600
    assert list((cache / "packages").iterdir()) == []
    assert list((cache / "aside").iterdir()) == []
    return message


async def alone(pool: Pool) -> None:
    """Wait until no worker and no jail of a build is left."""
    async with asyncio.timeout(10):
        while pool.workers or pool.jails.processes:
            await asyncio.sleep(0.02)


async def test_a_source_distribution_is_built_and_shared(
    builder: PackageInstaller, links: Path, cache: Path, pool: Pool
) -> None:
    sdist(links, "source", attempt="REPORT = 'built'")
    wheel(links, "user", requires=["source>=1"])
    folder = await install(builder, "user")
    assert folder.resolved == ("source==1.0", "user==1.0")
    assert report_of(folder, "source") == "built"
    assert sorted(os.listdir(folder.path)) == [
        *("source-1.0.dist-info", "source.py", "user-1.0.dist-info", "user.py")
    ]
    assert list((cache / "aside").iterdir()) == []
    wheel(links, "other")
    again = await install(builder, "user", "other")  # from the wheel that was kept
    assert again.resolved == ("other==1.0", "source==1.0", "user==1.0")
    await alone(pool)


async def test_a_build_gets_what_it_asks_for_and_no_more_is_installed(
    builder: PackageInstaller, links: Path, cache: Path
) -> None:
    wheel(links, "declaredtool", files={"declaredtool.py": "said = 'declared'"})
    wheel(links, "askedtool", files={"askedtool.py": "said = 'asked'"})
    sdist(
        links,
        "source",
        requires=["declaredtool>=1; python_version >= '3'", "absent; sys_platform == 'win32'"],
        attempt="""
        def get_requires_for_build_wheel(settings=None):
            return ["askedtool"]

        def build_wheel(folder, *rest):
            global REPORT
            import subprocess, sys, askedtool, declaredtool
            child = [sys.executable, "-c", "import askedtool; print(askedtool.said)"]
            REPORT = [askedtool.said, declaredtool.said, subprocess.check_output(child, text=True)]
            return make(folder=folder)
        """,
    )
    folder = await install(builder, "source")
    assert report_of(folder, "source") == ["asked", "declared", "asked\n"]
    assert folder.resolved == ("source==1.0",)


@pytest.mark.skipif(not SETUPTOOLS, reason="this Python brings no setuptools to build with")
async def test_a_setup_script_of_old_is_built(
    builder: PackageInstaller, links: Path, cache: Path
) -> None:
    (links / SETUPTOOLS[0].name).write_bytes(SETUPTOOLS[0].read_bytes())
    # Setuptools of before 70 asks for it; what it does there is not needed for this.
    sdist(
        links,
        "source",
        project="",
        files={"setup.py": "from setuptools import setup\nsetup(name='other', version='1.0')"},
    )
    await fails(builder, cache, "source", "its build needs wheel: there is no such package")


async def test_setuptools_builds_a_package_with_what_its_build_needs(
    builder: PackageInstaller, links: Path, cache: Path
) -> None:
    installed_wheel(links, "setuptools")
    wheel(links, "versiontool", files={"versiontool.py": "def version(): return '1.' + '4'"})
    sdist(
        links,
        "source",
        version="1.4",
        project="""
[build-system]
requires = ["setuptools>=70.1", "versiontool"]
build-backend = "setuptools.build_meta"

[project]
name = "source"
dynamic = ["version"]
dependencies = ["needed"]

[tool.setuptools]
package-dir = {"" = "src"}
package-data = {source = ["*.txt"]}
""",
        files={
            "setup.py": "import setuptools, versiontool\n"
            "setuptools.setup(version=versiontool.version())\n",
            "src/source/__init__.py": "report = 'built by setuptools'\n",
            "src/source/part.txt": "data",
        },
    )
    wheel(links, "needed")
    folder = await install(builder, "source")
    assert folder.resolved == ("needed==1.0", "source==1.4")
    names = sorted(os.listdir(folder.path))
    assert names == ["needed-1.0.dist-info", "needed.py", "source", "source-1.4.dist-info"]
    assert report_of(folder, "source/__init__") == "built by setuptools"
    assert Path(folder.path, "source", "part.txt").read_text() == "data"
    assert list((cache / "aside").iterdir()) == []


async def test_a_build_sees_no_secret_and_nothing_of_others(
    builder: PackageInstaller,
    links: Path,
    pool: Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOST_SECRET", CANARY)
    victim = tmp_path / "victim"
    victim.write_text(CANARY)
    victim.chmod(0o666)
    tmp_path.chmod(0o777)
    sibling = await pool.checkout()
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    path = str(tmp_path / "socket")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    os.chmod(path, 0o777)
    sdist(
        links,
        "source",
        attempt=f"""
        import glob, signal, socket
        def tried(attempt):
            try: return repr(attempt())[:200]
            except Exception as error: return type(error).__name__
        def connect(family, place):
            with socket.socket(family) as one: one.settimeout(2); one.connect(place)
        def read(path):
            with open(path, "rb") as file: return file.read()
        def seen(path):
            return tried(lambda: {CANARY!r}[:12].encode() in read(path))
        known = [seen(path) for path in glob.glob("/proc/*/environ")]
        REPORT = {{
            "environment": sorted(os.environ),
            "secrets": [w for w in known if w == "True"],
            "victim": tried(lambda: read({str(victim)!r})),
            "write": tried(lambda: open({str(victim)!r}, "w")),
            "new": tried(lambda: open({str(tmp_path / "new")!r}, "w")),
            "tmp": tried(lambda: open("/tmp/build-escaped", "w")),
            "sibling": tried(lambda: os.listdir(f"{{os.getcwd()}}/../../{sibling.folder}")),
            "wheels": tried(lambda: os.listdir({str(links)!r})),
            "cache": tried(lambda: os.listdir({str(tmp_path / "cache/downloads")!r})),
            "server": tried(lambda: read({py_code_mode.__file__!r})),
            "shadow": tried(lambda: read("/etc/shadow")),
            "tcp": tried(lambda: connect(socket.AF_INET, ("127.0.0.1", {port}))),
            "unix": tried(lambda: connect(socket.AF_UNIX, {path!r})),
            "signal": tried(lambda: os.kill({os.getpid()}, 0)),
            "zygote": tried(lambda: os.kill({sibling.pid}, 0)),
        }}
        """,
    )
    try:
        report = report_of(await install(builder, "source"), "source")
        assert server.getsockname()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    finally:
        server.close()
        listening.close()
        pool.discard(sibling)
    assert isinstance(report, dict)
    assert report.pop("environment") == sorted(
        ["HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR", "TZ"]
    )
    assert report.pop("secrets") == []
    assert set(report.values()) <= {"PermissionError", "OSError"}, report
    assert victim.read_text() == CANARY
    assert not Path("/tmp/build-escaped").exists()


FAILURES = {
    "raises": ("raise RuntimeError('no luck')", ["its build failed: RuntimeError: no luck"]),
    "exits": ("os._exit(3)", ["its build failed"]),
    "kills": (
        "import signal\ntry: os.kill(os.getppid(), signal.SIGKILL)\n"
        "finally: os.killpg(0, signal.SIGKILL)",
        ["its build was ended by signal 9"],
    ),
    "floods": ("while True: os.write(2, b'x' * 65536)", ["its build says or makes too much"]),
    "fills": (
        "for n in range(99):\n    open(f'f{n}', 'wb').write(os.urandom(4 << 20))",
        ["it takes over 24 MB"],
    ),
    "bigfile": ("open('f', 'wb').write(bytes(17 << 20))", ["its build"]),
    "memory": ("x = bytearray(1 << 30)", ["MemoryError"]),
    "renamed": (
        "build_wheel = lambda f, *_: make('json', folder=f)",
        ["'json-1.0-py3-none-any.whl', which is not renamed 1.0"],
    ),
    "newer": (
        "build_wheel = lambda f, *_: make('newer', '2.0', folder=f)",
        ["'newer-2.0-py3-none-any.whl', which is not newer 1.0"],
    ),
    "climbs": (
        "build_wheel = lambda f, *_: os.path.join('..', 'source', make('climbs'))",
        ["which is no wheel"],
    ),
    "tagged": (
        "def build_wheel(f, *_):\n"
        "    os.makedirs(f + '/tagged-1.0-py3-none-x'); made = make('tagged')\n"
        "    os.rename(made, f + '/tagged-1.0-py3-none-x/y.whl')\n"
        "    return 'tagged-1.0-py3-none-x/y.whl'",
        ["which is no wheel"],
    ),
    "nothing": ("build_wheel = lambda f, *_: 'nothing-1.0-py3-none-any.whl'", ["FileNotFound"]),
    "nameless": ("build_wheel = lambda f, *_: None", ["its build failed"]),
    "linked": (
        "def build_wheel(f, *_):\n"
        "    name = 'linked-1.0-py3-none-any.whl'\n"
        "    os.symlink('/etc/passwd', f + '/' + name)\n"
        "    return name",
        ["its build failed: PermissionError"],
    ),
    "notazip": (
        "def build_wheel(f, *_):\n"
        "    name = 'notazip-1.0-py3-none-any.whl'\n"
        "    os.symlink('/bin/sh', f + '/' + name)\n"
        "    return name",
        ["its file is broken"],
    ),
    "foreign": (
        "def build_wheel(f, *_):\n"
        "    name = 'foreign-1.0-py3-none-win32.whl'\n"
        "    os.rename(f + '/' + make('foreign', folder=f), f + '/' + name)\n"
        "    return name",
        ["a wheel that does not fit this platform"],
    ),
    "fifos": ("build_wheel = lambda f, *_: os.mkfifo(f + '/x') or 'x'", ["PermissionError"]),
    "url": (
        "get_requires_for_build_wheel = lambda _: ['x @ https://127.0.0.1:1/x.whl']",
        ["its build asks for 'x @ https://127.0.0.1:1/x.whl', which is not accepted"],
    ),
    "option": (
        "get_requires_for_build_wheel = lambda _: ['-r /etc/passwd']",
        ["its build asks for '-r /etc/passwd', which is not accepted"],
    ),
    "many": ("get_requires_for_build_wheel = lambda _: ['x'] * 101", ["no list of packages"]),
    "wrongtype": ("get_requires_for_build_wheel = lambda _: [1]", ["asks for '1', which is not"]),
    "needs": (
        "get_requires_for_build_wheel = lambda _: ['absent>1']",
        ["its build needs absent: there is no such package"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
async def test_a_build_that_fails_is_told_by_name_and_changes_nothing(
    builder: PackageInstaller, links: Path, cache: Path, pool: Pool, name: str
) -> None:
    attempt, reasons = FAILURES[name]
    sdist(links, name, attempt=attempt)
    message = await fails(builder, cache, name, *reasons)
    assert str(cache) not in message
    assert "/tmp/py-code-mode" not in message
    wheel(links, "good")
    assert (await install(builder, "good")).resolved == ("good==1.0",)
    await alone(pool)


async def test_a_build_that_never_ends_is_ended_with_all_that_it_started(
    links: Path, cache: Path, pool: Pool
) -> None:
    daemon = dedent(f"""
        import subprocess, time
        for start in ({{}}, {{"start_new_session": True}}, {{"process_group": 0}}):
            try: subprocess.Popen(["sleep", "{MARK}"], **start)
            except Exception: pass
        if os.fork() == 0:
            if os.fork() == 0: os.execv("/bin/sleep", ["sleep", "{MARK}"])
            os._exit(0)
        """)
    sdist(links, "daemon", attempt=f"{daemon}REPORT = 'left'\n")
    sdist(links, "endless", attempt=f"{daemon}while True: time.sleep(1)\n")
    with building(cache, links, pool, timeout_s=3) as installer:
        await fails(installer, cache, "endless", "its build did not end in time")
    assert not marked()
    with building(cache, links, pool) as installer:
        assert report_of(await install(installer, "daemon"), "daemon") == "left"
    await alone(pool)
    assert not marked()


async def test_a_cancelled_build_leaves_nothing(
    builder: PackageInstaller, links: Path, cache: Path, pool: Pool
) -> None:
    sdist(links, "slow", attempt=f"import subprocess; subprocess.run(['sleep', '{MARK}'])")
    task = asyncio.create_task(install(builder, "slow"))
    async with asyncio.timeout(20):
        while not marked():
            await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await alone(pool)
    assert not marked()
    assert list((cache / "aside").iterdir()) == []


async def test_a_wheel_that_was_built_is_looked_at_like_any_other(
    builder: PackageInstaller, links: Path, cache: Path
) -> None:
    sdist(
        links, "taken", attempt="build_wheel = lambda f, *_: make(files={'json.py': ''}, folder=f)"
    )
    with pytest.raises(DepInstallError, match=r"taken is refused: .*named 'json'"):
        await install(builder, "taken")
    assert list((cache / "aside").iterdir()) == []
    sdist(
        links,
        "starts",
        attempt="""
        def build_wheel(folder, *rest):
            return make(files={"a.pth": "import os", "starts.py": ""}, folder=folder)
        """,
    )
    folder = await install(builder, "starts")
    assert sorted(os.listdir(folder.path)) == ["starts-1.0.dist-info", "starts.py"]


@pytest.mark.parametrize("key", ["readme", "license-files", "script-files"])
async def test_what_a_source_names_is_not_read_by_the_installer_itself(
    builder: PackageInstaller, links: Path, tmp_path: Path, key: str
) -> None:
    """Uv builds projects of its own backend by itself, without running anything."""
    secret = tmp_path / "secret.txt"
    secret.write_text(CANARY)
    inside = "../" * 20 + str(secret).lstrip("/")
    lines = {
        "readme": f'readme = "{inside}"',
        "license-files": f'license-files = ["{inside}"]',
        "script-files": f'[tool.uv.build-backend.data]\nscripts = "{os.path.dirname(inside)}"',
    }
    sdist(
        links,
        "source",
        project=f'[build-system]\nrequires = ["uv_build<99"]\nbuild-backend = "uv_build"\n'
        f'[project]\nname = "source"\nversion = "1.0"\n{lines[key]}\n',
        files={"src/source/__init__.py": ""},
    )
    try:
        folder = await install(builder, "source")
    except DepInstallError:
        return  # what it says would be in the message, which is of uv's
    for path in Path(folder.path).rglob("*"):
        assert path.is_dir() or CANARY not in path.read_text(errors="replace")


async def test_a_source_that_holds_another_one_is_taken_for_itself(
    builder: PackageInstaller, links: Path
) -> None:
    sdist(
        links,
        "first",
        requires=[],
        attempt="REPORT = 'first'",
        files={
            "sdists-v9/pypi/second/1.0/x/src/backend.py": "raise OSError",
            "second/1.0/x/src/y": "",
        },
    )
    sdist(links, "second", attempt="REPORT = 'second'")
    folder = await install(builder, "first", "second")
    assert [report_of(folder, name) for name in ("first", "second")] == ["first", "second"]


async def test_what_a_source_depends_on_by_a_url_is_not_fetched(
    builder: PackageInstaller, links: Path, cache: Path
) -> None:
    for number, url in enumerate(("https://127.0.0.1:1/x.whl", "git+https://127.0.0.1:1/x")):
        name = f"byurl{number}"
        wheel(links, name, requires=[f"x @ {url}"])
        await fails(builder, cache, name, "it depends on x by a URL, which is not accepted")
        sdist(links, f"source{number}", requires=[f"x @ {url}"])
        asked = f"its build asks for 'x @ {url}', which is not accepted"
        await fails(builder, cache, f"source{number}", asked)


async def test_all_of_a_source_gets_into_the_jail(builder: PackageInstaller, links: Path) -> None:
    attempt = """
    REPORT = [open("data/big", "rb").seek(0, 2), os.path.exists("data/\\u00e9"), os.getcwd()[-6:]]
    """
    files = {"data/big": "x" * 5_000_000, "data/\u00e9": ""}
    sdist(links, "source", attempt=attempt, files=files)
    folder = await install(builder, "source")
    assert report_of(folder, "source") == [5_000_000, True, "source"]


async def test_where_nothing_can_be_confined_nothing_is_built(links: Path, cache: Path) -> None:
    sdist(links, "source")
    configs = {
        "the sandbox is off": ZygoteConfig(
            root="/tmp/py-code-mode-test", limits=LIMITS, enforce=False
        ),
        "needs Landlock ABI 2": ZygoteConfig(
            root="/tmp/py-code-mode-test", limits=LIMITS, max_landlock_abi=1
        ),
    }
    for reason, config in configs.items():
        async with Pool(config, min_tier="none") as pool:
            with building(cache, links, pool) as installer:
                words = f"it has no wheel, and it cannot be built here: .*{reason}"
                with pytest.raises(DepInstallError, match=words):
                    await install(installer, "source")
                wheel(links, "good")
                assert (await install(installer, "good")).resolved == ("good==1.0",)


async def test_without_the_setting_its_name_is_told(
    installer: PackageInstaller, links: Path, pool: Pool
) -> None:
    sdist(links, "source")
    with (
        installer.building_in(Builds(pool, disk_mb=LIMITS.disk_mb)),
        pytest.raises(DepInstallError, match=r"source could not be installed: .*DEPS_ALLOW_BUILD"),
    ):
        await install(installer, "source")


def marked() -> set[int]:
    """Return what still runs with the mark in its command line; it may take a moment to end."""
    deadline = time.monotonic() + 1
    while found := _marked():
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return found


def _marked() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line == f"sleep\0{MARK}\0".encode():
                found.add(int(entry.name))
    return found
