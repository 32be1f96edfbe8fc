"""``py-code-mode demo``: real agent code in a real session, step by step."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent, indent

from rich.console import Console
from rich.text import Text

from py_code_mode.cli import demo_world
from py_code_mode.cli.demo_redis import local_redis
from py_code_mode.cli.demo_steps import STEPS, Step
from py_code_mode.models import Limits, RunResult
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.sessions.session import Sandbox, Session
from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.store.redis_extra import redis_storage
from py_code_mode.tools.cli import find_program


async def run(output: Path, *, sandbox: Sandbox, redis: bool = False) -> bool:
    """Run every step; returns whether all ended as they must."""
    console = Console(highlight=False, soft_wrap=True)
    failures = 0
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="py-code-mode-demo-")))
        wheels = demo_world.write_wheel(base / "wheels").parent
        url = stack.enter_context(demo_world.web_server())
        async with Session(
            await _storage(base, stack, redis=redis),
            limits=Limits(interrupt_grace_s=1),
            sandbox=sandbox,
            installer=PackageInstaller(environ={}, find_links=[wheels], offline=True),
        ) as session:
            tier = (await session.info())["sandbox"]["tier"]
            where = session.storage.describe()
            console.print(f"A session on {where}, sandbox tier {tier}", style="bold")
            for step in STEPS:
                failures += not await _take(console, step, session, url, output)
    verdict = "every step ended as it must" if not failures else f"{failures} steps did not"
    console.print(f"\n{verdict}", style="bold green" if not failures else "bold red")
    return not failures


async def _storage(base: Path, stack: ExitStack, *, redis: bool) -> Store:
    """Return a storage that has the demo's tools."""
    storage: Store = FileStorage(base)
    if redis:
        storage = redis_storage()(stack.enter_context(local_redis(base)))
    for name, text in demo_world.TOOLS.items():
        await storage.tools.add(name, text)
    return storage


async def _take(console: Console, step: Step, session: Session, url: str, output: Path) -> bool:
    """Run a step and show it; returns whether it ended as it must."""
    console.print(f"\n{step.title}", style="bold")
    code = dedent(step.code).strip().replace("{url}", url)
    console.print(Text(indent(code, ">>> ", lambda _: True), style="cyan"))
    if step.program is not None and find_program(step.program) is None:
        missing = f"{step.program} is not installed on this machine, and the rest goes on"
        console.print(Text(missing, style="yellow"))
        return True
    result = await session.run(code, timeout=step.timeout_s)
    _write_pictures(console, result, output)
    return _show(console, step, result)


def _show(console: Console, step: Step, result: RunResult) -> bool:
    if result.stdout:
        console.print(Text(result.stdout.rstrip()))
    if result.value is not None:
        console.print(Text(repr(result.value), style="green"))
    if result.error is not None:
        console.print(Text(result.error.splitlines()[-1], style="yellow"))
    console.print(Text(f"{result.execution_time_ms:.2f} ms", style="dim"))
    if result.error_type == "ModuleNotFoundError":
        console.print(Text("not installed here, and the rest goes on", style="dim"))
        return True
    as_told = result.error_type == step.ends and result.state.lost == step.loses_variables
    if not as_told:
        console.print(Text(f"unexpected: {result.error_type or 'no error'}", style="bold red"))
        console.print(Text(result.error or ""))
    return as_told


def _write_pictures(console: Console, result: RunResult, output: Path) -> None:
    pictures = [bundle["image/png"] for bundle in result.displays if "image/png" in bundle]
    for picture in pictures:
        output.mkdir(parents=True, exist_ok=True)
        path = output / "chart.png"
        path.write_bytes(picture if isinstance(picture, bytes) else picture.encode())
        console.print(Text(f"written to {path}", style="green"))
