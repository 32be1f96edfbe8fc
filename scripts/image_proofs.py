"""What the session image must do in a hardened container; each proof returns the facts it found."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import server_facts as facts
from container_engine import Engine
from container_ways import Way
from server_facts import execute, must

ROOT: Final = Path(__file__).resolve().parents[1]
_HEALTHY_S: Final = 2.0
_STARTS: Final = 5
_GRACE_S: Final = 20
#: How long after the start of the container it is asked to end.
_MOMENTS_S: Final = (0.0, 0.3, 0.7)
_PROMPTLY_S: Final = 3.0
_SUITE_S: Final = 1500.0
_LONG: Final = "import time; artifacts.save('begun', True); time.sleep(4); 'finished'"
_GREEDY: Final = "hoard = []\nwhile True: hoard.append(b'x' * 16_000_000)"


@dataclass(frozen=True, slots=True)
class Proof:
    """Makes the proofs with one engine, image and way to start it."""

    engine: Engine
    image: str
    way: Way
    #: The image with what runs the hostile suite.
    suite: str

    def all(self) -> dict[str, Callable[[], list[str]]]:
        """Return the proofs by what they are about."""
        return {
            "starts": self.starts,
            "serves": self.serves,
            "draws": self.draws,
            "outlives a greedy session": self.outlives_a_greedy_session,
            "drains": self.drains,
            "ends while it starts": self.ends_while_it_starts,
            "refuses to start without a token": self.refuses_without_token,
            "refuses to start with no place to keep things": self.refuses_without_place,
            "refuses to start below its tier": self.refuses_below_its_tier,
            "survives the hostile suite": self.survives_the_hostile_suite,
        }

    def starts(self) -> list[str]:
        """Started several times, of which the fastest tells least of what else the machine does."""
        took = []
        for _ in range(_STARTS):
            options = [*self.way.options(), "--memory", "1g"]
            with self.engine.container(self.image, options) as server:
                took.append(facts.until_healthy(server) - server.started_at())
            if took[-1] <= _HEALTHY_S:
                break
        must(took[-1] <= _HEALTHY_S, f"healthy after {took} s, over {_HEALTHY_S:g} s each time")
        return [f"healthy {took[-1]:.2f} s after the container's start (start {len(took)})"]

    def serves(self) -> list[str]:
        """One server, asked for everything that leaves it as it was."""
        shared = ["--volume", f"{ROOT / 'examples' / 'shared'}:/config:ro", "--memory", "1g"]
        options = [*self.way.options(CONFIG_PATH="/config"), *shared]
        with self.engine.container(self.image, options) as server:
            facts.until_healthy(server)
            tier = facts.reports_tier(server, self.way.tier)
            return [tier, *(ask(server) for ask in facts.ALL)]

    def draws(self) -> list[str]:
        """With the packages that a smaller image is without."""
        options = [*self.way.options(), "--memory", "1g"]
        with self.engine.container(self.image, options) as server:
            facts.until_healthy(server)
            return [facts.draws_a_chart(server)]

    def outlives_a_greedy_session(self) -> list[str]:
        """The container's memory runs out before the session's own limit does."""
        memory = ["--memory", "600m", "--memory-swap", "600m"]
        options = [*self.way.options(SESSION_MEMORY_MB="8000", POOL_SIZE="1"), *memory]
        with self.engine.container(self.image, options) as server:
            facts.until_healthy(server)
            answer = execute(server, _GREEDY, session="greedy")
            died = answer["error_type"] == "WorkerCrashed" and answer["state"]["lost"]
            must(died, f"the greedy session: {answer}")
            again = execute(server, "6 * 7", session="greedy")
            must(again["value"] == 42 and server.running(), f"after the greedy: {again}")
        return ["a session of 8000 MB in 600 MB died and was told; the server answers the next run"]

    def drains(self) -> list[str]:
        """Stopped while a run is under way."""
        options = [*self.way.options(), "--memory", "1g"]
        with self.engine.container(self.image, options) as server, ThreadPoolExecutor(1) as pool:
            facts.until_healthy(server)
            running = pool.submit(execute, server, _LONG, beside=self.image)
            facts.until_saved(server, "begun")
            began = time.monotonic()
            exit_code = server.stop(_GRACE_S)
            took = time.monotonic() - began
            value = running.result()["value"]
        must((value, exit_code) == ("finished", 0) and took < _GRACE_S, f"{value=} {exit_code=}")
        return [f"stopped amid a run: the run was answered, exit code 0 after {took:.1f} s"]

    def ends_while_it_starts(self) -> list[str]:
        """Process 1 gets no signal that it has no handler for."""
        took = []
        for moment in _MOMENTS_S:
            with self.engine.container(self.image, self.way.options()) as server:
                time.sleep(moment)
                began = time.monotonic()
                exit_code = server.stop(_GRACE_S)
                took.append(time.monotonic() - began)
                must(exit_code == 0 and took[-1] < _PROMPTLY_S, f"{exit_code=} {took=}")
        return [f"stopped as it starts: exit code 0 after {max(took):.1f} s at most"]

    def survives_the_hostile_suite(self) -> list[str]:
        """As process 1, with the rights that the server has here; what it skips is a failure."""
        options = [*self.way.rights(), "--memory", "3g", "--volume", f"{ROOT}:/suite:ro"]
        chosen = ["-v", "-k", " or ".join(self.way.setups)]
        ended = self.engine.attend(self.suite, options, *chosen, timeout_s=_SUITE_S)
        lines = ended.stdout.splitlines() or [ended.stderr]
        last = lines[-1].strip("= ")
        words = set(re.findall(r"\d+ (\w+)", last))
        unwanted = words & {"failed", "error", "errors", "skipped"}
        must(ended.exit_code == 0 and not unwanted, f"{last}\n{ended.stdout[-4000:]}")
        passed = [line for line in lines if " PASSED" in line]
        made = {name: sum(name in line for line in passed) for name in self.way.setups}
        must(all(made.values()), f"a set-up was left out: {made}\n{last}")
        parts = ", ".join(f"{name} {count}" for name, count in made.items())
        return [f"the hostile suite: {last} ({parts})"]

    def refuses_without_token(self) -> list[str]:
        """The token is unset, then too short."""
        found = []
        for token, about in (("", "empty"), ("short", "too short")):
            options = self.way.options(CONTAINER_AUTH_TOKEN=token)
            found.append(f"a token that is {about}: {self._refusal(options)}")
        return found

    def refuses_without_place(self) -> list[str]:
        """Neither a Redis nor a folder is named: a default would end with the container."""
        return [f"nowhere to keep things: {self._refusal(self.way.options(STORAGE_PATH=''))}"]

    def refuses_below_its_tier(self) -> list[str]:
        """A seccomp profile takes Landlock away."""
        profile = str(ROOT / "scripts" / "seccomp-without-landlock.json")
        options = [*self.way.options(), "--security-opt", f"seccomp={profile}"]
        found = [f"without Landlock: {self._refusal(options)}"]
        lower = "C" if self.way.tier == "A" else "D"
        options = [*self.way.options(MIN_SANDBOX_TIER="D"), "--security-opt", f"seccomp={profile}"]
        with self.engine.container(self.image, options) as server:
            facts.until_healthy(server)
            tier = facts.reports_tier(server, lower)
            found.append(f"without Landlock, MIN_SANDBOX_TIER=D: {tier}")
        return found

    def _refusal(self, options: list[str]) -> str:
        ended = self.engine.attend(self.image, options)
        # podman's own words begin with the time
        lines = [line for line in ended.stderr.splitlines() if not line.startswith("time=")]
        must(ended.exit_code == 2 and len(lines) == 1, f"{ended.exit_code}: {ended.stderr}")
        return f"exit code 2, {lines[0]!r}"
