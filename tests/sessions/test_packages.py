"""Packages as agent code has them: at once, everywhere, and never in place of what was imported."""

from __future__ import annotations

import _bz2
import asyncio
import py_compile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from packages.wheels import sdist, wheel
from py_code_mode import FileStorage, Limits, Session
from py_code_mode.errors import DepInstallError, DepNotFoundError
from py_code_mode.packages.installer import PackageInstaller

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMITS = Limits(interrupt_grace_s=0.5)


class Place:
    """A store on disk, a folder of wheels, and sessions on both."""

    def __init__(self, folder: Path) -> None:
        self.base, self.wheels, self.cache = (folder / n for n in ("base", "wheels", "cache"))
        self.wheels.mkdir()
        folder.chmod(0o711)  # sessions have uids of their own
        for name in ("one", "two", "three"):
            wheel(self.wheels, name, "1.0")
        wheel(self.wheels, "one", "2.0")

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncIterator[Session]:
        installer = PackageInstaller(
            self.cache,
            environ={},
            find_links=[self.wheels],
            offline=True,
            compile_bytecode=options.pop("compile_bytecode", False),
            allow_build=options.pop("allow_build", False),
        )
        async with Session(
            FileStorage(self.base), installer=installer, limits=LIMITS, **options
        ) as opened:
            yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("packages")
    for parent in folder.parents[:2]:
        parent.chmod(0o711)
    return Place(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(place: Place) -> AsyncIterator[Session]:
    async with place.session() as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module")
async def session(opened: Session) -> AsyncIterator[Session]:
    """The module's session, fresh and without packages."""
    await opened.reset()
    for spec in await opened.list_deps():
        await opened.remove_dep(spec)
    yield opened


async def value(session: Session, code: str) -> object:
    result = await session.run(code, timeout=30)
    assert result.error is None, result.error
    return result.value


async def test_a_package_is_there_in_the_same_run(session: Session) -> None:
    code = """
try: import one
except ImportError: missing = True
added = deps.add('one')
import one
[missing, added, one.__version__, deps.list()]
"""
    assert await value(session, code) == [True, ["one"], "2.0", ["one"]]


async def test_a_package_is_there_in_other_sessions(session: Session, place: Place) -> None:
    async with place.session() as running:
        assert (await running.run("import two")).error_type == "ModuleNotFoundError"
        await value(session, "deps.add('two')")
        async with asyncio.timeout(5):
            while (await running.run("import two")).error is not None:
                await asyncio.sleep(0.1)
        assert await value(running, "two.__version__") == "1.0"
    async with place.session() as fresh:
        assert await value(fresh, "import two\ntwo.__version__") == "1.0"


async def test_what_was_imported_stays_imported(session: Session) -> None:
    assert await value(session, "deps.add('one<2')\nimport one\none.__version__") == "1.0"
    assert await value(session, "deps.add('one>=2')\nimport one\none.__version__") == "1.0"
    code = "import sys; del sys.modules['one']\nimport one\none.__version__"
    assert await value(session, code) == "2.0"
    assert await value(session, "deps.remove('one')\nimport one\none.__version__") == "2.0"
    again = await session.run("del sys.modules['one']\nimport one")
    assert again.error_type == "ModuleNotFoundError"


async def test_a_package_changed_from_outside_reaches_the_next_run(session: Session) -> None:
    assert await session.add_dep("three") == ["three"]
    assert await value(session, "import three\nthree.__name__") == "three"
    assert await session.remove_dep("three") == []
    with pytest.raises(DepNotFoundError):
        await session.remove_dep("three")
    with pytest.raises(DepInstallError, match="no such package"):
        await session.add_dep("absent")


async def test_sync_installs_what_the_list_says(session: Session, place: Place) -> None:
    (place.base / "requirements.txt").write_text("one<2\ntwo\n")
    assert await value(session, "deps.sync()") == ["one==1.0", "two==1.0"]
    assert await value(session, "import one, two\none.__version__") == "1.0"
    assert await session.sync_deps() == ["one==1.0", "two==1.0"]


async def test_a_failure_is_an_exception_and_changes_nothing(session: Session) -> None:
    code = """
deps.add('one')
try: deps.add('absent')
except DepInstallError as error: got = [str(error), error.package, error.reason]
[*got, deps.list()]
"""
    said = "absent could not be installed: there is no such package. Nothing was changed"
    assert await value(session, code) == [said, "absent", "there is no such package", ["one"]]
    for bad, problem in (("one; x", "marker"), ("-r x", "option"), ("one @ https://x", "URL")):
        result = await session.run(f"deps.add({bad!r})")
        assert result.error_type == "InvalidDepError"
        assert problem in (result.error or "")
    assert (await session.run("deps.remove('absent')")).error_type == "DepNotFoundError"
    assert await value(session, "import one\ndeps.list()") == ["one"]


async def test_packages_may_be_locked_at_run_time(session: Session, place: Place) -> None:
    await session.add_dep("one")
    async with place.session(allow_runtime_deps=False) as locked:
        for change in ("deps.add('two')", "deps.remove('one')"):
            assert (await locked.run(change)).error_type == "RuntimeDepsDisabledError"
        code = "import one\n[deps.list(), deps.sync(), one.__version__]"
        assert await value(locked, code) == [["one"], ["one==2.0"], "2.0"]


async def test_a_session_may_install_before_its_first_run(place: Place, session: Session) -> None:
    (place.base / "requirements.txt").write_text("three\n")
    other = Place.__new__(Place)
    other.__dict__.update(place.__dict__, cache=place.cache.with_name("other"))
    async with AsyncExitStack() as stack:
        late = await stack.enter_async_context(other.session())
        assert (await late.run("import three")).error_type == "ModuleNotFoundError"
        early = await stack.enter_async_context(other.session(sync_deps_on_start=True))
        assert await value(early, "import three\nthree.__version__") == "1.0"
    (place.base / "requirements.txt").write_text("absent\n")
    with pytest.raises(DepInstallError, match="absent"):
        async with other.session(sync_deps_on_start=True):
            pass
    (place.base / "requirements.txt").write_text("")


async def test_every_file_of_a_package_can_be_read_and_loaded(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "made.py"
    source.write_text("kind = 'bytecode'\n")
    compiled = tmp_path / "made.pyc"
    py_compile.compile(str(source), cfile=str(compiled), doraise=True)
    library = Path(str(_bz2.__file__))
    files: dict[str, str | bytes] = {
        "native/__init__.py": "from importlib.resources import files\n"
        "data = files(__name__).joinpath('deep/data.txt').read_text()\n",
        "native/deep/data.txt": "of the package",
        "native/made.pyc": compiled.read_bytes(),
        f"native/{library.name}": library.read_bytes(),
    }
    wheel(place.wheels, "native", files=files)
    async with place.session(compile_bytecode=True) as session:
        await value(session, "deps.add('native')")
        code = """
import native, native.made, native._bz2, os, importlib.metadata
folder = os.path.dirname(native.__file__)
[native.data, native.made.kind, native._bz2.__file__.startswith(folder),
 os.path.exists(native.__cached__), importlib.metadata.version('native'),
 [n for n in os.listdir(folder) if not os.access(f'{folder}/{n}', os.R_OK)]]
"""
        known = ["of the package", "bytecode", True, True, "1.0", []]
        assert await value(session, code) == known
        await session.remove_dep("native")


async def test_a_package_that_is_built_is_there_like_any_other(place: Place) -> None:
    sdist(place.wheels, "source", attempt="REPORT = os.getcwd()")
    async with place.session(allow_build=True) as session:
        code = "deps.add('source')\nimport os, source\n[source.report == os.getcwd(), deps.list()]"
        assert await value(session, code) == [False, ["source"]]
    async with place.session() as session:  # what is there needs no building
        assert await value(session, "import source\ndeps.sync()") == ["source==1.0"]
    other = Place.__new__(Place)
    other.__dict__.update(place.__dict__, cache=place.cache.with_name("built"))
    async with other.session(allow_build=True, sync_deps_on_start=True) as early:
        assert await value(early, "import source\nsource.__name__") == "source"
    async with place.session() as session:
        await session.remove_dep("source")
