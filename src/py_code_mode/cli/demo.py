"""``py-code-mode demo``: real agent code in a real session, step by step."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Final

from rich.console import Console
from rich.text import Text

from py_code_mode.models import Limits, RunResult
from py_code_mode.sessions.session import Sandbox, Session


@dataclass(frozen=True, slots=True)
class Step:
    """One run of the demo and how it must end (``error_type``, None for well)."""

    title: str
    code: str
    ends: str | None = None
    timeout_s: float = 60.0
    loses_variables: bool = False


_CHART: Final = """
    import matplotlib.pyplot as plt
    plt.figure(figsize=(6, 3))
    plt.bar(["mon", "tue", "wed"], prices)
    plt.title("Prices")
    plt.show()
    """

STEPS: Final = (
    Step("Variables persist from run to run", "prices = [3, 4, 8]"),
    Step("... in the same process, with the last expression as the value", "sum(prices) / 3"),
    Step(
        "A skill is Python source that is kept, searched and invoked",
        '''
        skills.create("mean", """
        "Mean of a list of numbers."

        def run(numbers: list[float]) -> float:
            return sum(numbers) / len(numbers)
        """)
        skills.create("report", """
        "Numbers described in a sentence."

        def run(numbers: list[float]) -> str:
            return f"{len(numbers)} numbers, mean {skills.mean(numbers=numbers):.1f}"
        """)
        skills.report(numbers=prices)
        ''',
    ),
    Step(
        "Artifacts outlive the session",
        """
        artifacts.save("reports/prices.json", {"prices": prices}, description="This week")
        artifacts.load("reports/prices.json")
        """,
    ),
    Step(
        "Agent code cannot start programs",
        'import os\nos.system("cat /etc/passwd")',
        ends="PermissionError",
    ),
    Step("... and finds none of the host's environment", 'os.environ.get("HOME", "")[:4]'),
    Step(
        "An endless loop ends at its deadline",
        "while True:\n    pass",
        ends="ExecutionTimeoutError",
        timeout_s=1,
    ),
    Step("... and the variables are still there", "prices"),
    Step("A chart comes back as a picture", _CHART),
    Step(
        "A crash ends this session's process only, and is told",
        "print('about to crash')\nos._exit(3)",
        ends="WorkerCrashed",
        loses_variables=True,
    ),
    Step(
        "... skills and artifacts are kept",
        '[skill.name for skill in skills.list()], artifacts.load("reports/prices.json")',
    ),
)


async def run(output: Path, *, sandbox: Sandbox) -> bool:
    """Run every step; returns whether all ended as they must."""
    console = Console(highlight=False, soft_wrap=True)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="py-code-mode-demo-") as base:
        limits = Limits(interrupt_grace_s=1)
        async with Session.from_base(base, limits=limits, sandbox=sandbox) as session:
            tier = (await session.info())["sandbox"]["tier"]
            console.print(f"A session on files in {base}, sandbox tier {tier}", style="bold")
            for step in STEPS:
                result = await session.run(dedent(step.code).strip(), timeout=step.timeout_s)
                failures += not _show(console, step, result)
                _write_pictures(console, result, output)
    verdict = "every step ended as it must" if not failures else f"{failures} steps did not"
    console.print(f"\n{verdict}", style="bold green" if not failures else "bold red")
    return not failures


def _show(console: Console, step: Step, result: RunResult) -> bool:
    console.print(f"\n{step.title}", style="bold")
    console.print(Text(indent(dedent(step.code).strip(), ">>> ", lambda _: True), style="cyan"))
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
