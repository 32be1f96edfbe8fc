"""The tools and wheels of the arena: what the attempts on tools and packages are made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from packages.wheels import sdist, wheel
from py_code_mode import MemoryStorage
from py_code_mode.packages.installer import PackageInstaller

_EXAMPLES: Final = Path(__file__).parents[2] / "examples" / "shared" / "tools"
_SH: Final = "command: /bin/sh\nargs: [-c]\n"
_PYTHON: Final = "command: python3\nargs: [-I, -c]\n"
_SCRIPT: Final = "schema: {positional: [{name: script, type: string, required: true}]}\n"
_VALUES: Final = """
schema:
  options:
    number: {type: integer, minimum: 1, maximum: 9}
    names: {type: array}
    flag: {type: boolean}
  positional: [{name: value, type: string}]
"""
#: Each is a file's text without name and description; ``held`` alone is given the host's secret.
TOOLS: Final[Mapping[str, str]] = {
    "sh": f"{_SH}timeout: 20\n{_SCRIPT}",
    "quick": f"{_SH}timeout: 0.4\n{_SCRIPT}",
    "lines": f"{_SH}output: lines\n{_SCRIPT}",
    "json": f"{_SH}output: json\n{_SCRIPT}",
    "raw": f"{_SH}output: bytes\n{_SCRIPT}",
    "python": f"{_PYTHON}timeout: 20\noutput: json\n{_SCRIPT}",
    "offline": f"{_PYTHON}network: false\noutput: json\n{_SCRIPT}",
    "narrow": f"{_PYTHON}ports: [9]\noutput: json\n{_SCRIPT}",
    "echo": f"command: /usr/bin/printf\nargs: ['%s|']\nend_of_options: true\n{_VALUES}",
    "held": "command: /bin/sleep\nenv: {HELD: '${TOOL_HELD}'}\n"
    "schema: {positional: [{name: seconds, type: number}]}\n",
    "unset": "command: /bin/true\nenv: {X: '${TOOL_NOBODY_SET}'}\n",
    "gone": "command: no-such-program\n",
    "size": "command: /usr/bin/wc\nargs: [-c]\nschema: {stdin: {name: text}}\n",
    "cat": "command: /bin/cat\noutput: bytes\nnetwork: false\nschema: {stdin: {name: text}}\n",
}


async def stock(storage: MemoryStorage) -> None:
    """Put every tool into a store, the examples too."""
    for path in _EXAMPLES.glob("*.yaml"):
        await storage.tools.add(path.stem, path.read_text())
    for name, text in TOOLS.items():
        await storage.tools.add(name, f"name: {name}\ndescription: a test's tool\n{text}")


def packages_in(folder: Path) -> PackageInstaller:
    """Return an installer that knows a folder of hostile wheels, and nothing else."""
    wheels = folder / "wheels"
    wheels.mkdir()
    _write_wheels(wheels)
    return PackageInstaller(
        folder / "cache", environ={}, find_links=[wheels], offline=True, compile_bytecode=False
    )


def _write_wheels(folder: Path) -> None:
    wheel(folder, "good")
    wheel(folder, "good", "2.0")
    wheel(folder, "other")
    wheel(folder, "startup", files={
        "startup.py": "", "startup.pth": "import builtins; builtins.pth_ran = True\n",
        "sitecustomize.py": "import builtins; builtins.pth_ran = True\n",
    })  # fmt: skip
    wheel(folder, "asjson", files={"json.py": "stolen = True\n"})
    wheel(folder, "asguest", files={"py_code_mode_guest/wire.py": "stolen = True\n"})
    wheel(folder, "aserrors", files={"py_code_mode/errors.py": "stolen = True\n"})
    wheel(folder, "asmsgpack", files={"msgpack/__init__.py": "stolen = True\n"})
    wheel(folder, "raises", files={"raises.py": "raise RuntimeError('on import')\n"})
    wheel(folder, "exits", files={"exits.py": "raise SystemExit(3)\n"})
    wheel(folder, "ends", files={"ends.py": "import os; os._exit(3)\n"})
    wheel(folder, "loops", files={"loops.py": "while True: pass\n"})
    wheel(folder, "clash", files={"mine.py": "whose = 'package'\n"})
    wheel(folder, "climbs", files={"climbs.py": "", "../../../climbed.py": "", "/climbed.py": ""})
    wheel(folder, "links", files={}, links={"links.py": "/etc/passwd"})
    wheel(folder, "needs", requires=["absent"])
    wheel(folder, "byurl", requires=["good @ https://127.0.0.1:1/good.whl"])
    sdist(folder, "builds", backend="raise SystemExit('a build ran')\n")
    (folder / "torn-1.0-py3-none-any.whl").write_bytes(b"no zip at all")
