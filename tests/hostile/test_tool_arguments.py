"""Arguments of tools: options and files hidden in values, and output made to break its reader."""

from __future__ import annotations

import pytest

from hostile.arena import Arena
from hostile.attempt import OWN_UID, Attempt

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (OWN_UID,)
INVALID = frozenset({"InvalidArgumentError"})
FINE = frozenset({"fine"})

ATTEMPTS = (
    *(
        Attempt(
            f"gives a tool {what}",
            stopped_by,
            f"""[tried(lambda: {call}) for _ in range(2)]""",
            frozenset({sees}),
        )
        for what, call, sees, stopped_by in (
            *(
                (
                    f"the option {option} for its value",
                    call,
                    "InvalidArgumentError",
                    "a positional that begins with - is refused",
                )
                for option, call in (
                    ("-K", "tools.curl.get(url='-K/etc/passwd')"),
                    ("--version", "tools.curl(url='--version')"),
                    ("-", "tools.curl.get(url='-')"),
                    ("-o", "tools.curl.get('-o/tmp/x')"),
                    ("-iL", "tools.nmap.quick(target='-iL/etc/passwd')"),
                    ("--slurpfile", "tools.jq(filter='--slurpfile', input='1')"),
                )
            ),
            ("a NUL", "tools.echo(value='a\\0b')", "InvalidArgumentError", "refused by name"),
            (
                "half of a surrogate pair",
                "tools.echo(value='\\ud800')",
                "InvalidArgumentError",
                "refused by name",
            ),
            (
                "200 KB in one argument",
                "tools.echo(value='x' * 200_000)",
                "InvalidArgumentError",
                "the length of one argument is limited",
            ),
            (
                "2 MB in many arguments",
                "tools.echo(names=['x' * 1000] * 2000)",
                "InvalidArgumentError",
                "the length of all arguments is limited",
            ),
            (
                "100,000 empty arguments",
                "tools.echo(names=[''] * 100_000)",
                "InvalidArgumentError",
                "the length of all arguments is limited",
            ),
            (
                "an argument it does not have",
                "tools.curl(url='http://h', output='../x')",
                "InvalidArgumentError",
                "unknown parameters are refused by name",
            ),
            (
                "an option that its recipe presets",
                "tools.curl.get(url='http://h', silent=False)",
                "InvalidArgumentError",
                "presets are not the caller's",
            ),
            ("text for a number", "tools.echo(number='1')", "InvalidArgumentError", "typed"),
            ("a bool for a number", "tools.echo(number=True)", "InvalidArgumentError", "typed"),
            (
                "an endless number",
                "tools.echo(number=float('inf'))",
                "InvalidArgumentError",
                "typed",
            ),
            (
                "a number of a million digits",
                "tools.echo(number=10**4000)",
                "InvalidArgumentError",
                "typed",
            ),
            ("a list for text", "tools.echo(value=['--x'])", "InvalidArgumentError", "typed"),
            ("an object for text", "tools.echo(value=object())", "InvalidArgumentError", "typed"),
            (
                "a file to read headers from",
                "tools.curl.get_with_headers(url='http://h', header=['@/etc/passwd'])",
                "InvalidArgumentError",
                "the pattern of the definition",
            ),
            (
                "a header with a line break",
                "tools.curl.get_with_headers(url='http://h', header=['a: b\\r\\nc: d'])",
                "InvalidArgumentError",
                "the pattern of the definition",
            ),
            (
                "file:///etc/passwd",
                "tools.curl.get(url='file:///etc/passwd')",
                "ToolCallError",
                "curl is fixed to http and https; the jail has no such file",
            ),
            (
                "file:///proc/1/environ",
                "tools.curl.get(url='file:///proc/1/environ')",
                "ToolCallError",
                "curl is fixed to http and https; the jail has no /proc",
            ),
            (
                "gopher://",
                "tools.curl.get(url=f'gopher://127.0.0.1:{HOST[\"tcp\"]}/_x')",
                "ToolCallError",
                "curl is fixed to http and https",
            ),
            (
                "the name of a program that is not installed",
                "tools.gone()",
                "ToolError",
                "said at the call, and in the log",
            ),
            ("a variable that nobody set", "tools.unset()", "ToolError", "said at the call"),
        )
    ),
    Attempt(
        "gives a tool values that a shell would act on",
        "each value is one argument; there is no shell",
        r"""
        values = ["a\nb", "; touch x", "$(touch x)", "`id`", "${HELD}", "a b  c", "*", "|cat", "&",
                  "-rf", "--", "%s%n", "\x1b[2J", "é\u202e", "", "'\"\\"]
        got = [tools.echo(value=v) for v in values]
        "fine" if got == ["--|" + v + "|" for v in values] and not os.path.exists("x") else str(got)
        """,
        FINE,
    ),
    Attempt(
        "names a file that a tool's program would read by itself",
        "jq reads what it was given; its filter's modules are files of the folder alone",
        """
        open(".jq", "w").write('def own: "own";')
        [tried(lambda: tools.jq(filter='import "/etc/passwd" as $x; $x', input="1")),
         tried(lambda: tools.jq(filter='include "../victim/open"; 1', input="1")),
         tried(lambda: tools.jq(filter='$__loc__.file, env.HELD, $ENV.TOOL_HELD | strings',
                                input="1").count("CANARY") and 1/0 or 1/0)]
        """,
        frozenset({"ToolCallError", "ZeroDivisionError"}),
    ),
    Attempt(
        "runs a tool whose output is not UTF-8",
        "bytes that are no text are escaped; bytes are bytes",
        r"""
        script = r"printf '\377\376\000ok\n\r\033[2J'"
        text, lines, raw = (getattr(tools, n)(script=script) for n in ("sh", "lines", "raw"))
        told = type(text) is str and "\\xff\\xfe" in text and raw.startswith(b"\xff\xfe\0ok")
        "fine" if told and lines[0].endswith("ok") else repr((text, lines, raw))
        """,
        FINE,
    ),
    Attempt(
        "runs a tool that prints JSON made to break its reader",
        "what does not cross the wire exactly is an error of the tool",
        r"""
        texts = ["[" * 100_000, '{"a":' * 5_000, "9" * 5_000, '"\\ud800"', "", "{}{}", "[1,]",
                 "[" * 99 + "]" * 99, "\\377", "nul", "1e400000"]
        def ask(t):
            open("t", "w").write(t)
            return tools.json(script="cat t")
        got = {tried(lambda t=t: ask(t)) for t in texts}
        odd = tools.json(script='printf %s "[NaN, 1e999, 12345678901234567890123, null]"')
        shape = ask('{"$type": "bytes", "base64": "AA=="}')
        "fine" if got <= {"ToolError", "done: inf"} and odd[2] == 12345678901234567890123 \
            and shape == {"$type": "bytes", "base64": "AA=="} else f"{got} {odd} {shape}"
        """,
        FINE,
    ),
    Attempt(
        "sends a tool 20 MB of standard input, several at once",
        "its jail reads what its memory limit lets it; beyond, the calls fail",
        """
        import asyncio
        one = tools.cat(text=b"x" * 100_000)
        calls = [tools.cat.call_async(text=b"x" * 20_000_000) for _ in range(4)]
        got = await asyncio.gather(*calls, return_exceptions=True)
        words = {type(g).__name__ for g in got}
        "fine" if len(one) == 100_000 and words <= {"ToolError", "InvalidArgumentError"} else str(words)
        """,
        FINE,
        timeout_s=10,
        growth_mb=256,
    ),
)


async def test_an_argument_is_never_more_than_a_value(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)
