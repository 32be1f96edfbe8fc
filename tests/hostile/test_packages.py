"""Packages: what a wheel does to the host, to Python and to others; and what agent code does to it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hostile.arena import Arena
from hostile.attempt import CRASHED, MAIN, NO_LANDLOCK, OWN_UID, REFUSED, UNPRIVILEGED, Attempt
from py_code_mode.models import SessionId

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (*MAIN, NO_LANDLOCK)
FINE = frozenset({"fine"})
ONE = (OWN_UID,)
SLOW = (OWN_UID, UNPRIVILEGED)

_SPECS = (
    ("a URL", "good @ https://127.0.0.1:1/good.whl"),
    ("a file URL", "good @ file:///etc/passwd"),
    ("version control", "git+https://127.0.0.1:1/x"),
    ("a path", "./good-1.0-py3-none-any.whl"),
    ("an absolute path", "/etc/passwd"),
    ("a path that climbs", "../../victim"),
    ("a marker", "good; python_version > '3'"),
    ("an option", "--index-url=http://127.0.0.1:1/"),
    ("a short option", "-r/etc/passwd"),
    ("a second line", "good\n--index-url=http://127.0.0.1:1/"),
    ("a variable", "$HOSTILE_SECRET"),
    ("a comment", "good # x"),
    ("a hash option", "good --hash=sha256:00"),
    ("a NUL", "good\0"),
    ("a module of Python", "json"),
    ("a module of the guest", "py-code-mode-guest"),
    ("a library of the guest", "msgpack==1.0"),
    ("nothing", " "),
    ("a million characters", "x" * 10**6),
    ("arbitrary equality", "good===1.0"),
)

#: Package, and what its refusal says; each but the first few shown to name the package.
_WHEELS = (
    ("asjson", "'json', which is taken"),
    ("asguest", "'py_code_mode_guest', which is taken"),
    ("aserrors", "'py_code_mode', which is taken"),
    ("asmsgpack", "'msgpack', which is taken"),
    ("builds", "building from source is off"),
    ("missing", "there is no such package"),
    ("needs", "there is no such package"),
    ("byurl", "by a URL"),
    ("torn", "its file is broken"),
    ("good>=9", "no version fits"),
    ("good[none]", "no extra"),
)

ATTEMPTS = (
    Attempt(
        "asks for a package by what is no package spec",
        "a spec is a name with extras and versions; nothing else is accepted",
        f"""
        before = deps.list()
        words = {{tried(lambda s=s: deps.add(s)) for s in {[spec for _, spec in _SPECS]!r}}}
        words | {{tried(lambda: deps.add(None)), tried(lambda: deps.add(["good"])),
                  tried(lambda: deps.add(b"good"))}} if deps.list() == before else "changed"
        """,
        frozenset(
            {
                "{'InvalidDepError', 'InvalidArgumentError'}",
                "{'InvalidArgumentError', 'InvalidDepError'}",
                "InvalidDepError",
                "InvalidArgumentError",
            }
        ),
        setups=ONE,
    ),
    Attempt(
        "installs packages that are named like others, broken, built, absent",
        "what is installed is looked at as data; each refusal names package and reason",
        f"""
        before, wrong = deps.list(), []
        for spec, reason in {_WHEELS!r}:
            try: deps.add(spec)
            except DepInstallError as error:
                if reason not in str(error) or HOST["victim"][:-6] in str(error): wrong.append(str(error))
            else: wrong.append(f"{{spec}} was installed")
        import json
        "fine" if not wrong and deps.list() == before and not hasattr(json, "stolen") else str(wrong)
        """,
        FINE,
        setups=SLOW,
        timeout_s=20,
    ),
    Attempt(
        "installs a package with files that Python would run at its start",
        ".pth files and their like are not kept, and no site of a package is ever read",
        """
        import builtins, importlib
        deps.add("startup")
        import startup
        files = os.listdir(os.path.dirname(startup.__file__))
        deps.remove("startup")
        "ran" if hasattr(builtins, "pth_ran") or "startup.pth" in files else "fine"
        """,
        FINE,
        setups=SLOW,
        timeout_s=20,
    ),
    Attempt(
        "installs a package with paths that climb and entries that are links",
        "uv and the installer keep what is inside, and a link is no link",
        """
        words = {tried(lambda: deps.add("climbs"))[:4], tried(lambda: deps.add("links"))[:4]}
        try:
            import links
            words.add(open(links.__file__).read()[:4])
        except Exception: pass
        for name in ("climbs", "links"): tried(lambda: deps.remove(name))
        "fine" if "root" not in words else str(words)
        """,
        FINE,
        setups=SLOW,
        timeout_s=20,
    ),
    Attempt(
        "imports packages that raise, exit, end the process",
        "nothing: they are the session's own code",
        """
        deps.add("raises"); deps.add("exits")
        def one(name):
            try: __import__(name)
            except BaseException as error: return type(error).__name__
        words = [one("raises"), one("exits"), one("raises")]
        deps.remove("raises"); deps.remove("exits")
        "fine" if words == ["RuntimeError", "SystemExit", "RuntimeError"] else str(words)
        """,
        FINE,
        setups=SLOW,
        timeout_s=20,
    ),
    Attempt(
        "imports a package that ends its process",
        "nothing: its session ends and says so",
        """
        deps.add("ends")
        try: import ends
        finally: deps.remove("ends")
        """,
        CRASHED,
        setups=ONE,
        timeout_s=20,
    ),
    Attempt(
        "imports a package that never ends",
        "the deadline",
        """
        deps.add("loops")
        threading.Timer(0.1, lambda: deps.remove("loops")).start()
        import loops
        """,
        frozenset({"ExecutionTimeoutError"}),
        setups=ONE,
        timeout_s=1.5,
        wait_s=0.3,
    ),
    Attempt(
        "writes into the folder of packages and its parents",
        "Landlock, the files' modes, the uid",
        """
        deps.add("good")
        import good
        site = os.path.dirname(good.__file__)
        said = [tried(lambda: open(good.__file__, "a")), tried(lambda: open(site + "/new.py", "w")),
                tried(lambda: os.unlink(good.__file__)), tried(lambda: os.rename(good.__file__, site + "/x")),
                tried(lambda: os.mkdir(site + "/d")), tried(lambda: os.symlink("/", site + "/l")),
                tried(lambda: os.link(good.__file__, "mine")), tried(lambda: os.rmdir(site)),
                tried(lambda: open(os.path.dirname(site) + "/resolved.txt", "w")),
                tried(lambda: os.listdir(os.path.dirname(site) + "/../../downloads")),
                tried(lambda: os.open(good.__file__, os.O_RDONLY | os.O_TRUNC))]
        tried(lambda: os.chmod(good.__file__, 0o777)), tried(lambda: os.chmod(site, 0o777))
        said += ["EPERM" if os.stat(site).st_mode & 0o777 == 0o555 else "chmod"]
        said
        """,
        REFUSED | {"EXDEV"},
        timeout_s=20,
    ),
    Attempt(
        "has a tool write into the folder of packages",
        "Landlock: a tool cannot even read them",
        """
        deps.add("good")
        import good
        site = os.path.dirname(good.__file__)
        inside(f'''
        said = [tried(lambda: open({good.__file__!r}, "a")), tried(lambda: open({site!r} + "/new.py", "w")),
                tried(lambda: os.unlink({good.__file__!r})), tried(lambda: os.rmdir({site!r}))]
        tried(lambda: os.chmod({site!r}, 0o777))
        said += ["EPERM" if os.stat({site!r}).st_mode & 0o777 == 0o555 else "chmod"]
        '''.replace("\\n        ", "\\n"))
        """,
        timeout_s=20,
    ),
    Attempt(
        "puts modules of its folder and of packages in place of Python's",
        "the session's folder comes last on the path, packages after Python",
        """
        import importlib, subprocess
        open("mine.py", "w").write("whose = 'folder'"); open("shlex.py", "w").write("whose = 'folder'")
        deps.add("clash")
        import mine, shlex
        words = (mine.whose, hasattr(shlex, "whose"))
        deps.remove("clash"); os.unlink("mine.py"); os.unlink("shlex.py")
        "fine" if words == ("package", False) else str(words)
        """,
        FINE,
        setups=ONE,
        timeout_s=20,
    ),
    *(
        Attempt(
            f"makes {what} before a package is added",
            "what Python looks modules up with is agent code's own affair; the answer still comes",
            f"""
            {prepare}
            try: deps.add("good"); deps.remove("good")
            finally: {undo}
            "fine"
            """,
            FINE,
            setups=ONE,
            timeout_s=20,
        )
        for what, prepare, undo in (
            ("sys.path something else", "kept = sys.path; sys.path = ('x',)", "sys.path = kept"),
            ("sys.path nothing", "kept = sys.path; del sys.path", "sys.path = kept"),
            (
                "sys.path a list of traps",
                "Trap = type('Trap', (), {'__eq__': lambda s, o: 1 / 0, '__hash__': None}); sys.path.insert(0, Trap())",
                "del sys.path[0]",
            ),
            (
                "the importers' cache nothing",
                "kept = sys.path_importer_cache; sys.path_importer_cache = None",
                "sys.path_importer_cache = kept",
            ),
            (
                "the importers' cache a trap",
                "sys.path_importer_cache[3] = None",
                "sys.path_importer_cache.pop(3, None)",
            ),
            (
                "a finder that raises",
                "F = type('F', (), {'invalidate_caches': lambda s: 1 / 0, 'find_spec': lambda *a: None});"
                " sys.meta_path.append(F())",
                "sys.meta_path.pop()",
            ),
        )
    ),
)


async def test_a_package_harms_nobody(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)


async def test_sessions_that_add_at_once_agree(ground: Arena) -> None:
    ids = [SessionId(f"adds-{n}") for n in range(4)]
    await ground.manager.run(ids[0], "for spec in deps.list(): deps.remove(spec)")
    specs = ["good", "other", "good<2", "missing"]
    results = await asyncio.gather(
        *(
            ground.manager.run(one, f"deps.add({spec!r}); None", timeout_s=30)
            for one, spec in zip(ids, specs, strict=True)
        )
    )
    assert [r.error_type for r in results] == [None, None, None, "DepInstallError"]
    for one in ids:
        seen = await ground.manager.run(
            one, "import good, other; [deps.list()[1], good.__version__[1:]]"
        )
        assert seen.value == ["other", ".0"], seen.error
    removed = await ground.manager.run(ids[0], "deps.remove('good'); deps.remove('other')")
    assert removed.value == []
    for one in ids:
        await ground.manager.end(one)
    await ground.settle()


async def test_nothing_of_a_wheel_is_anywhere_but_in_its_folder(ground: Arena) -> None:
    top = Path(ground.facts["victim"]).parent
    strays = [path for path in top.rglob("climbed*") if "packages" not in path.parts]
    assert [path for path in strays if "downloads" not in path.parts] == []
    assert not os.path.exists("/climbed.py")
    assert list((top / "cache" / "aside").iterdir()) == []
