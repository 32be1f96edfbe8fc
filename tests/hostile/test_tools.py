"""Calls of tools: forged, too many, ended halfway; and what runs beside the guest."""

from __future__ import annotations

import asyncio

import pytest

from hostile.arena import MARK, Arena
from hostile.attempt import (
    ABI_1,
    ABI_3,
    MAIN,
    NO_LANDLOCK,
    OWN_UID,
    UNPRIVILEGED,
    WITH_LANDLOCK,
    Attempt,
)
from py_code_mode.models import SessionId

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (*MAIN, ABI_1, ABI_3, NO_LANDLOCK)
INVALID = frozenset({"InvalidArgumentError"})
FINE = frozenset({"fine"})
NOTHING = frozenset({"nothing"})
ONE = (OWN_UID,)
SLOW = (OWN_UID, UNPRIVILEGED)

ATTEMPTS = (
    *(
        Attempt(
            f"forges a call of a tool with {what}",
            "every operation checks the types of its arguments",
            f"""
            good = {{"name": "echo", "callable": None, "arguments": {{"value": "x"}}}}
            def ask(**changes):
                reply = tools._channel.call(call(namespace="tools", operation="call",
                                                 kwargs={{**good, **changes}}))
                return (reply.get("error") or {{}}).get("type") or reply.get("error") or "answered"
            [str(ask(**change))[:60] for change in ({changes},)]
            """,
            sees,
            setups=ONE,
        )
        for what, changes, sees in (
            (
                "a wrong type for large_at",
                "{'large_at': 1.5}, {'large_at': True}, {'large_at': []}",
                INVALID,
            ),
            (
                "a wrong type for large",
                "{'large': 1, 'large_at': 'value'}, {'large': {}, 'large_at': 0}",
                INVALID,
            ),
            (
                "positions that are not there",
                "{'large': 'y', 'large_at': -1, 'args': []}, {'large': 'y', 'large_at': 2**63 - 1},"
                "{'large': 'y', 'large_at': -(2**63), 'args': ['a']}",
                frozenset({"answered", "InvalidArgumentError"}),
            ),
            (
                "a large argument that it does not have",
                "{'large': 'y', 'large_at': 'z' * 10**6}",
                INVALID,
            ),
            (
                "a large argument twice",
                "{'large': 'y', 'large_at': 'value'}",
                frozenset({"answered"}),
            ),
            (
                "a name of a million characters",
                "{'name': 'x' * 10**6}, {'callable': 'y' * 10**6}",
                frozenset({"ToolNotFoundError"}),
            ),
            (
                "names that are none",
                "{'name': ''}, {'name': '__class__'}, {'callable': ''},"
                "{'callable': 'call_async'}, {'name': '../echo'}, {'name': 'echo\\0'}",
                frozenset({"ToolNotFoundError"}),
            ),
            (
                "wrong types for its names",
                "{'name': None}, {'name': b'echo'}, {'callable': 3},"
                "{'arguments': []}, {'arguments': None}, {'args': {}}, {'name': ['echo']}",
                INVALID,
            ),
            (
                "arguments by a name that is no text",
                "{'arguments': {'caller': 1, 'self': 2}},{'caller': 'x'}, {'self': 1}, {'jail': 1}",
                INVALID,
            ),
            (
                "ten thousand arguments",
                "{'arguments': {str(n): n for n in range(10_000)}},{'args': list(range(10_000))}",
                INVALID,
            ),
        )
    ),
    Attempt(
        "asks for help and searches with a million characters",
        "names and queries are cut before they are compared",
        """
        [tried(lambda: tools.search("x y " * 300_000)) and "fine",
         tried(lambda: tools._operations["describe"]("x" * 10**6)),
         tried(lambda: getattr(tools, "y" * 10**6).z.signature())]
        """,
        frozenset({"fine", "ToolNotFoundError"}),
        setups=ONE,
    ),
    Attempt(
        "calls 40 tools at once",
        "the jail has places; what is beyond them waits",
        """
        import asyncio
        async def one(i): return await tools.sh.call_async(script=f"sleep 0.05; echo {i}")
        got = await asyncio.gather(*(one(i) for i in range(40)), return_exceptions=True)
        "fine" if got == [f"{i}\\n" for i in range(40)] else str(got)[:500]
        """,
        FINE,
        timeout_s=10,
        setups=SLOW,
    ),
    Attempt(
        "calls a tool 40 times with 10 MB of standard input at once",
        "no more calls are read while those under way hold 8 MiB",
        """
        large = frame(call(namespace="tools", operation="call", kwargs={
            "name": "size", "callable": None, "arguments": {}, "large": b"x" * 10_000_000,
            "large_at": "text"}))
        for n in range(40): send(large)
        "fine"
        """,
        FINE,
        setups=ONE,
        timeout_s=15,
        growth_mb=320,
    ),
    Attempt(
        "starts 300 calls and ends its run at once",
        "a run's calls end with it, and their programs",
        """
        for n in range(300):
            send(frame(call(id=10**6 + n, namespace="tools", operation="call", kwargs={
                "name": "sh", "callable": None,
                "arguments": {"script": f"sleep {HOST['mark']} & sleep {HOST['mark']}"}})))
        "fine"
        """,
        FINE,
        setups=SLOW,
        timeout_s=1.5,
    ),
    Attempt(
        "ends its run while its first tool is being started, again and again",
        "a jail whose start was not waited for is ended",
        """
        send(frame(call(id=10**6, namespace="tools", operation="call", kwargs={
            "name": "sh", "callable": None, "arguments": {"script": "exec sleep %d" % HOST["mark"]}})))
        "fine"
        """,
        FINE,
        setups=SLOW,
    ),
    Attempt(
        "reaches for the jail beside it",
        "seccomp: signals to its own pid only, no tracing; the jail's socket is the host's",
        """
        jail = int(tools.sh(script="echo $PPID"))
        buffer = ctypes.create_string_buffer(64)
        iov = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
        [tried(lambda: os.kill(jail, 9)), syscall("kill", jail, 9), syscall("tgkill", jail, jail, 9),
         syscall("ptrace", 16, jail, 0, 0), syscall("process_vm_readv", jail, iov, 1, iov, 1, 0),
         syscall("process_vm_writev", jail, iov, 1, iov, 1, 0), syscall("pidfd_open", jail, 0),
         syscall("prlimit64", jail, 7, iov, 0),
         *(tried(lambda n=n: open(f"/proc/{jail}/{n}", "rb").read(1)) for n in ("mem", "environ")),
         tried(lambda: os.listdir(f"/proc/{jail}/fd"))]
        """,
    ),
    Attempt(
        "reads the secret of a tool that runs beside it",
        "Landlock: /proc is not readable; another program's environment is out of reach",
        """
        def hold(): tried(lambda: tools.held(seconds=0.5))
        thread = threading.Thread(target=hold); thread.start(); time.sleep(0.15)
        found = tools.sh(script="cat /proc/[0-9]*/environ 2>/dev/null; ps e 2>/dev/null; env; true")
        own = [tried(lambda p=p: open(f"/proc/{p}/environ", "rb").read())
               for p in range(os.getpid(), os.getpid() + 50)]
        thread.join()
        "found" if "CANARY" in found + str(own) else "nothing"
        """,
        NOTHING,
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "asks a tool for variables of the host and of other tools",
        "only TOOL_ variables that its own definition names",
        """
        shown = tools.sh(script="env; echo ${TOOL_HELD}${HELD}${HOSTILE_SECRET}")
        "found" if "CANARY" in shown or "TOOL_" in shown or "SECRET" in shown else "nothing"
        """,
        NOTHING,
    ),
)


async def test_a_call_harms_its_caller_alone(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)


@pytest.mark.parametrize("wait_s", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("end", ["reset", "close", "interrupt"])
async def test_a_session_that_ends_takes_its_tools_along(
    ground: Arena, end: str, wait_s: float
) -> None:
    manager, session = ground.manager, SessionId(f"{end}-{wait_s}")
    assert (await manager.run(session, "1")).value == 1
    calls = (
        "import asyncio\nawait asyncio.gather(*(tools.sh.call_async("
        f"script='sleep {MARK} & exec sleep {MARK}') for _ in range(8)))"
    )
    run = asyncio.create_task(manager.run(session, calls, timeout_s=20))
    await asyncio.sleep(wait_s)
    if end == "reset":
        await manager.reset(session)
    elif end == "interrupt":
        while not run.done():
            await manager.interrupt(session)
            await asyncio.sleep(0.01)
    else:
        await manager.end(session)
    result = await run
    # Closed before its first program, a session may still answer that there is no jail for it.
    assert result.error_type in {"WorkerCrashed", "KeyboardInterrupt", "ToolError"}, result.error
    if end != "close":
        again = await manager.run(session, "tools.sh(script='echo again')")
        assert again.value == "again\n", again.error
        await manager.end(session)
    await ground.settle()
    assert await ground.folders_are_those_of_workers()


@pytest.mark.parametrize(
    "script",
    [
        # The call itself outlives what meets the limit of processes.
        pytest.param(
            f"b() {{ (b &) ; sleep 0.01; b & sleep {MARK}; }}; (b &); exec sleep {MARK}", id="bomb"
        ),
        # At each moment another process, whose parent has ended.
        pytest.param(f"c() {{ (c &); exit; }}; (c &); exec sleep {MARK}", id="chain"),
    ],
)
async def test_whatever_multiplies_ends_with_its_session(ground: Arena, script: str) -> None:
    manager, session = ground.manager, SessionId("bomb")
    bomb = f"tools.sh(script={script!r})"
    run = asyncio.create_task(manager.run(session, bomb, timeout_s=20))
    await asyncio.sleep(0.15)
    await manager.end(session)
    assert (await run).error_type == "WorkerCrashed"
    await ground.settle()
