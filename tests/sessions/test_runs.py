"""What a run is: its value, its output, its errors, and what stays for the next one."""

from __future__ import annotations

import pytest

from sessions.conftest import LIMITS, Run

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_variables_imports_functions_and_classes_persist(run: Run) -> None:
    await run("import math\nx = 2\ndef f(y): return x + y\nclass C:\n    z = 3")
    assert await run.value("f(3) + C.z + math.floor(1.5)") == 9


async def test_the_last_expression_is_the_value_and_a_statement_has_none(run: Run) -> None:
    assert await run.value("1\n2 + 2") == 4
    assert await run.value("x = 5") is None


async def test_top_level_await_works_and_runs_side_by_side(run: Run) -> None:
    code = """
        import asyncio, time
        start = time.monotonic()
        await asyncio.gather(*(asyncio.sleep(0.2) for _ in range(20)))
        time.monotonic() - start
    """
    elapsed = await run.value("\n".join(line.strip() for line in code.splitlines()))
    assert isinstance(elapsed, float)
    assert 0.2 <= elapsed < 2


async def test_prints_warnings_and_logging_are_captured_apart(run: Run) -> None:
    result = await run(
        "import logging, sys, warnings\n"
        "print('out'); print('err', file=sys.stderr)\n"
        "warnings.warn('careful'); logging.getLogger().error('logged')\n"
        "sys.stdout.buffer.write(b'bytes\\n'); None"
    )
    assert result.stdout == "out\nbytes\n"
    assert result.stderr.startswith("err\n")
    assert "UserWarning: careful" in result.stderr
    assert result.stderr.endswith("logged\n")


async def test_standard_input_is_empty(run: Run) -> None:
    assert await run.value("import sys; sys.stdin.read()") == ""
    assert (await run("input()")).error_type == "EOFError"


async def test_standard_input_is_empty_after_exit_too(run: Run) -> None:
    await run("exit()")
    result = await run("import sys\nread = (sys.stdin.read(), sys.stdin.buffer.read())\nread")
    assert result.value == ["", b""], result.error
    assert (await run("input()")).error_type == "EOFError"


async def test_streams_that_are_wrapped_or_reconfigured_are_captured(run: Run) -> None:
    await run("import io, sys\nsys.stdout.reconfigure(encoding='utf-8')")
    wrapped = "sys.{0} = io.TextIOWrapper(sys.{0}.buffer, encoding='utf-8')"
    code = "\n".join([wrapped.format("stdout"), wrapped.format("stderr"), "print('grün')"])
    result = await run(f"{code}\nprint('rot', file=sys.stderr)\n1 / 0")
    assert (result.stdout, result.stderr) == ("grün\n", "rot\n")
    assert result.error_type == "ZeroDivisionError"


async def test_a_traceback_shows_the_users_lines_and_none_of_ours(run: Run) -> None:
    result = await run("def f(x):\n    return 1 / x\n\nf(0)")
    assert result.error == (
        "Traceback (most recent call last):\n"
        '  File "<run 1>", line 4, in <module>\n'
        "    f(0)\n"
        '  File "<run 1>", line 2, in f\n'
        "    return 1 / x\n"
        "           ~~^~~\n"
        "ZeroDivisionError: division by zero"
    )
    assert (result.error_type, result.is_ok, result.state.generation) == (
        "ZeroDivisionError",
        False,
        1,
    )


async def test_a_traceback_of_an_await_begins_with_the_users_line(run: Run) -> None:
    result = await run("async def f():\n    return 1 / 0\n\nawait f()")
    assert result.error is not None
    assert result.error.splitlines()[1] == '  File "<run 1>", line 4, in <module>'
    assert "run_until_complete" not in result.error


async def test_an_interrupted_await_shows_what_it_waited_for(run: Run) -> None:
    await run("import asyncio\nasync def f():\n    await asyncio.sleep(60)")
    result = await run("async with asyncio.TaskGroup():\n    await f()", timeout=0.3)
    assert result.error_type == "ExecutionTimeoutError"
    assert result.error is not None
    assert "    await f()\n" in result.error
    assert "    await asyncio.sleep(60)\n" in result.error
    assert "select" not in result.error


async def test_a_function_of_an_earlier_run_still_shows_its_source(run: Run) -> None:
    await run("def broken():\n    raise ValueError('here')")
    result = await run("broken()")
    assert "raise ValueError('here')" in (result.error or "")
    assert '"<run 1>"' in (result.error or "")


async def test_a_syntax_error_points_at_its_line(run: Run) -> None:
    result = await run("x = 1\ny = (")
    assert result.error_type == "SyntaxError"
    assert 'File "<run 1>", line 2' in (result.error or "")


async def test_sys_exit_ends_the_run_and_nothing_else(run: Run) -> None:
    await run("x = 1")
    assert (await run("import sys; sys.exit(3)")).error_type == "SystemExit"
    assert await run.value("x") == 1


async def test_future_imports_hold_for_later_runs(run: Run) -> None:
    await run("from __future__ import annotations")
    assert await run.value("def f(x: nowhere): ...\nf.__annotations__") == {"x": "nowhere"}


async def test_generations_count_the_completed_runs(run: Run) -> None:
    states = [(await run(code)).state for code in ("1", "1/0", "2")]
    assert [state.generation for state in states] == [1, 2, 3]
    assert not any(state.lost or state.durable or state.not_restored for state in states)


async def test_output_over_the_limit_is_cut_and_told(run: Run) -> None:
    result = await run(
        "print('x' * 200_000)\nprint('more')\nimport sys; print('e', file=sys.stderr)"
    )
    assert len(result.stdout) == LIMITS.max_output_bytes
    assert (result.truncated, result.stderr, result.error) == (["stdout"], "e\n", None)


async def test_two_hundred_megabytes_of_print_cost_the_host_nothing(run: Run) -> None:
    result = await run("for _ in range(2000): print('x' * 100_000)")
    assert result.truncated == ["stdout"]
    assert await run.value("1") == 1


async def test_lines_printed_before_a_crash_are_told(run: Run) -> None:
    result = await run("for i in range(50): print(i)\nimport os; os._exit(4)")
    assert result.stdout == "".join(f"{i}\n" for i in range(50))
    assert result.error_type == "WorkerCrashed"
    assert "exit code 4" in (result.error or "")


async def test_files_of_the_work_folder_persist_and_can_be_imported(run: Run) -> None:
    await run("open('helper.py', 'w').write('answer = 42')")
    assert await run.value("import helper; helper.answer") == 42


async def test_help_describes_namespaces_and_ordinary_things(run: Run) -> None:
    result = await run("help(artifacts.save)\nhelp(skills.invoke)\nhelp(len)")
    assert result.error is None
    assert "artifacts.save(name: str, data: Any" in result.stdout
    assert "skills.invoke(name: str" in result.stdout
    assert "Return the number of items" in result.stdout


async def test_unknown_methods_name_the_close_matches(run: Run) -> None:
    result = await run("artifacts.lod('x')")
    assert result.error_type == "UnknownOperationError"
    assert "Did you mean load" in (result.error or "")


async def test_a_namespace_cannot_be_changed(run: Run) -> None:
    assert (await run("artifacts.save = print")).error_type == "AttributeError"


async def test_the_errors_can_be_imported_by_their_documented_name(run: Run) -> None:
    code = (
        "from py_code_mode.errors import ArtifactNotFoundError as E\n"
        "try:\n    artifacts.load('nothing')\nexcept E as e:\n    caught = e.name, e.code\ncaught"
    )
    assert await run.value(code) == ["nothing", "artifact_not_found"]
