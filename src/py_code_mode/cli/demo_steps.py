"""The demo's steps: each one run of agent code, and how it must end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Step:
    """One run of the demo and how it must end (``error_type``, None for well).

    ``{url}`` in the code is the web server's; ``program`` is one that this machine must have.
    """

    title: str
    code: str
    ends: str | None = None
    timeout_s: float = 60.0
    loses_variables: bool = False
    program: str | None = None


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
        "A tool is a program described in YAML; it runs in a jail of its own",
        'tools.curl.get(url="{url}")',
        program="curl",
    ),
    Step(
        "... and takes and gives typed values",
        """
        text = '{"prices": [{"price": 3}, {"price": 4}]}'
        tools.jq.query(filter="[.prices[].price] | add", input=text)
        """,
        program="jq",
    ),
    Step(
        "A value cannot become an option of the program",
        'tools.curl.get(url="--version")',
        ends="InvalidArgumentError",
        program="curl",
    ),
    Step(
        "A package is installed beside the server, and is there at once",
        """
        deps.add("demo-slugs>=1")
        from demo_slugs import slug
        slug("Prices of this Week"), deps.list()
        """,
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
