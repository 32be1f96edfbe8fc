"""What is finalised may print wherever garbage is collected: also amid a call of the same thread."""

from __future__ import annotations

from py_code_mode import MemoryStorage, Session

LOUD = """
import gc, threading

class Loud:
    def __init__(self): self.me = self
    def __del__(self): print("gone")

def ask():
    for _ in range(100): Loud(); artifacts.list()

usual = gc.get_threshold()
gc.set_threshold(3, 1, 1)
threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
for each in threads: each.start()
ask()
for each in threads: each.join()
gc.set_threshold(*usual)
gc.collect()
"""


async def test_finalisers_print_while_threads_call_the_host() -> None:
    async with Session(MemoryStorage()) as session:
        result = await session.run(LOUD, timeout=20)
        assert (result.error, result.stdout) == (None, "gone\n" * 400)
        assert (await session.run("len(threads)")).value == 3
