"""Real third-party code works inside."""

from __future__ import annotations

import pytest

from sessions.conftest import Run

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKS = {
    "numpy": ("import numpy as np; float(np.linalg.norm(np.ones((50, 50)) @ np.ones(50)))", 353.5533905932738),
    "pandas": ("import pandas as pd; pd.DataFrame({'a': [1, 2]}).groupby('a').size().tolist()", [1, 1]),
    "sqlite3": (
        "import sqlite3; c = sqlite3.connect('db'); c.execute('pragma journal_mode=wal').fetchall();"
        " c.execute('create table t (x)'); c.execute('insert into t values (7)'); c.commit();"
        " c.execute('select x from t').fetchall()",
        [[7]],
    ),
    "requests": ("import requests; requests.Request('GET', 'http://x').prepare().url", "http://x/"),
    "dataclasses": (
        "from dataclasses import dataclass, asdict\n@dataclass\nclass P:\n    x: int\nasdict(P(1))",
        {"x": 1},
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor as T\nwith T(8) as t: r = list(t.map(str, range(3)))\nr",
        ["0", "1", "2"],
    ),
    "asyncio": (
        "import asyncio\nasync def f(x): await asyncio.sleep(0); return x\nawait asyncio.gather(f(1), f(2))",
        [1, 2],
    ),
    "tempfile": (
        "import tempfile, os\nwith tempfile.TemporaryDirectory() as d: ok = d.startswith(os.environ['HOME'])\nok",
        True,
    ),
    "zipfile and shutil": (
        "import shutil, os; os.makedirs('d/e'); open('d/e/f', 'w').write('x'); shutil.make_archive('z', 'zip', 'd');"
        " shutil.copytree('d', 'g'); shutil.rmtree('d'); sorted(os.listdir())",
        ["g", "z.zip"],
    ),
    "zoneinfo and ssl": (
        "import zoneinfo, ssl; ssl.create_default_context(); str(zoneinfo.ZoneInfo('Europe/Paris'))",
        "Europe/Paris",
    ),
    "inspect": ("import inspect\ndef f(): pass\ninspect.getsource(f)", "def f(): pass\n"),
    "pickle": ("import pickle\nclass C: x = 1\npickle.loads(pickle.dumps(C())).x", 1),
    "uuid and secrets": ("import uuid, secrets; len(str(uuid.uuid4())) + len(secrets.token_hex(4))", 44),
    "a late extension module": ("import _lsprof, _elementtree, array; array.array('i', [1]).tolist()", [1]),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKS)
async def test_works_inside(run: Run, name: str) -> None:
    code, expected = WORKS[name]
    assert await run.value(code) == expected


async def test_a_figure_comes_back_as_png_once(run: Run) -> None:
    for code in ("plt.plot([1, 2]); plt.show()", "plt.plot([1, 2])", "plt.figure()"):
        result = await run(f"import matplotlib.pyplot as plt; {code}")
        assert result.error is None, result.error
        assert len(result.displays) == 1, code
        png = result.displays[0]["image/png"]
        assert isinstance(png, bytes)
        assert png.startswith(b"\x89PNG")


async def test_a_table_comes_back_as_html(run: Run) -> None:
    result = await run("import pandas as pd; pd.DataFrame({'a': [1]})")
    assert "<table" in str(result.displays[0]["text/html"])
    assert result.value == "   a\n0  1"


async def test_random_numbers_differ_between_sessions(run: Run) -> None:
    other = Run(run.manager)
    code = "import random, uuid; [random.random(), str(uuid.uuid4())]"
    first, second = await run.value(code), await other.value(code)
    await other.manager.end(other.id)
    assert first != second


@pytest.mark.parametrize("show", ["", "plt.show()"])
async def test_a_figure_that_cannot_be_drawn_fails_its_own_run_only(run: Run, show: str) -> None:
    code = f"import matplotlib.pyplot as plt\nplt.plot([1])\nplt.title(r'$\\bad{{$')\n{show}"
    assert (await run(code)).error_type == "ValueError"
    assert await run.value("1") == 1
