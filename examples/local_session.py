"""A local session, as a program uses it: ``python examples/local_session.py``."""

from __future__ import annotations

import asyncio

from py_code_mode import Session

SKILL = '''
"""Describe a list of numbers."""

import statistics


def run(numbers: list[float]) -> dict[str, float]:
    return {"mean": statistics.mean(numbers), "spread": statistics.pstdev(numbers)}
'''


async def main() -> None:
    """Run code that keeps its variables, uses a skill and saves what it found."""
    async with Session.from_base("./.code-mode") as session:
        await session.add_skill("describe", SKILL, overwrite=True)
        await session.run("prices = [3.0, 4.0, 8.0]")
        result = await session.run(
            "found = skills.describe(numbers=prices)\n"
            "artifacts.save('prices.json', found, description='Prices described')\n"
            "found"
        )
        print(result.value if result.is_ok else result.error)


if __name__ == "__main__":
    asyncio.run(main())
