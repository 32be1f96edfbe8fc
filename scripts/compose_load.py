"""Clients of a session server behind a proxy, that remember what they were promised."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

_WAIT_S: Final = 30.0
#: Counts in a variable of the session, and keeps the count where all replicas see it.
_CODE: Final = """
count = globals().get("count", 0) + 1
artifacts.save("load/{name}/" + str(count), {{"count": count}})
count
"""
_SKILL: Final = 'skills.create("{skill}", \'"Load."\\n\\ndef run():\\n    return 1\\n\')'


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the servers are reached."""

    port: int
    token: str

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, str]:
        """Return status, body and cookie of an answer; status 0 where there was none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_WAIT_S)
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            text = response.read()
            cookie = (response.getheader("Set-Cookie") or "").partition(";")[0]
            return response.status, _decoded(text), cookie
        except (OSError, http.client.HTTPException):
            return 0, None, ""
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and body."""
        return self.ask("GET", path)[:2]

    def replica(self) -> str:
        """Return the cookie of the replica that a new client is sent to; empty for none."""
        status, _, cookie = self.ask("GET", "/info")
        return cookie if status == 200 else ""


@dataclass(slots=True)
class Ledger:
    """What the clients saw."""

    kept: dict[str, Any] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    runs: int = 0
    #: Runs without an answer, of which those that began once the proxy knew are ``late``.
    failed: int = 0
    late: int = 0
    #: Sessions that lost their variables, and were told or not.
    told: int = 0
    silent: int = 0
    settled_at: float = float("inf")
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note_failure(self, began: float) -> None:
        """Count a run that was not answered."""
        with self.lock:
            self.failed += 1
            self.late += began > self.settled_at


class Driver:
    """One client with one session, which counts its own runs."""

    def __init__(self, number: int, proxy: Proxy, ledger: Ledger) -> None:
        self._name = f"client-{number}"
        self._proxy = proxy
        self._ledger = ledger
        self._headers = {"X-Session-ID": f"{self._name}-{time.time_ns():x}-of-the-proof"}
        #: The last count known; None where a run may or may not have been counted.
        self._count: int | None = 0
        self._created = 0

    def work(self, over: threading.Event) -> None:
        """Run code until told to end."""
        while not over.is_set():
            self.run_once()
            if self._count is not None and self._count % 10 == 5:
                self._create()

    def run_once(self) -> None:
        """Run the code, and note what the answer promises."""
        began = time.monotonic()
        answer = self._execute(_CODE.format(name=self._name))
        if answer is None:
            self._ledger.note_failure(began)
            self._count = None
            return
        count = answer["value"]
        with self._ledger.lock:
            self._ledger.runs += 1
            self._ledger.kept[f"/api/artifacts/load/{self._name}/{count}"] = {"count": count}
            if answer["state"]["lost"]:
                self._ledger.told += 1
            elif not self._goes_on(count):
                self._ledger.silent += 1
        self._count = count

    def _goes_on(self, count: int) -> bool:
        """Say whether the session still has the variables that its last run left."""
        return count > 1 if self._count is None else count == self._count + 1

    def _create(self) -> None:
        self._created += 1
        skill = f"{self._name.replace('-', '_')}_{time.time_ns():x}"
        if self._execute(_SKILL.format(skill=skill)) is not None:
            with self._ledger.lock:
                self._ledger.created.append(f"/api/skills/{skill}")

    def _execute(self, code: str) -> Any:
        """Return the run's answer; None where none came or the run failed."""
        status, answer, cookie = self._proxy.ask("POST", "/execute", {"code": code}, self._headers)
        if cookie:
            self._headers["Cookie"] = cookie
        return answer if status == 200 and answer["is_ok"] else None


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
