"""Runs agent code: persistent globals, the last expression's value, top-level ``await``."""

from __future__ import annotations
import __future__

import ast
import asyncio
import builtins
import contextvars
import gc
import inspect
import sys
import threading
import types
from collections.abc import Coroutine
from typing import Any, Final, TypeVar, cast

from py_code_mode_guest import displays, tracebacks
from py_code_mode_guest.output import Outlet

T = TypeVar("T")

_FUTURES: Final = {
    name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names
}
_CLEANUP_S: Final = 1.0


class Interpreter:
    """One session's Python: a ``__main__`` module and the event loop its ``await`` runs on."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._loop: asyncio.AbstractEventLoop | None = None
        self._futures = 0
        self._shown = displays.Shown()
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main
        self.globals: dict[str, Any] = main.__dict__
        builtins.display = self.display  # type: ignore[attr-defined]  # as in every notebook

    def run(self, source: str, filename: str) -> Any:
        """Run ``source`` and return the value of its last expression, or None."""
        self._shown = displays.Shown()
        tracebacks.remember_source(filename, source)
        body, last = _split(_parse(source, filename))
        self._futures |= _future_flags(body)
        if body.body:
            self._evaluate(body, filename, "exec")
        value = None if last is None else self._evaluate(last, filename, "eval")
        self._show(value)
        return value

    def display(self, *values: Any) -> None:
        """Show values in their richest form (HTML, image …), as notebooks do."""
        for value in values:
            self._shown.add(value)
            self._outlet.display(displays.bundle(value))

    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end from sync code, wherever that code runs."""
        if threading.current_thread() is not threading.main_thread():
            return asyncio.run(coroutine) if not _loop_runs() else _in_thread(coroutine)
        if _loop_runs():
            return _in_thread(coroutine)
        return self._complete(coroutine)

    def _evaluate(self, tree: ast.Module | ast.Expression, filename: str, mode: str) -> Any:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | self._futures
        code = _compile(tree, filename, mode, flags)
        if code.co_flags & inspect.CO_COROUTINE:
            return self._complete(eval(code, self.globals))  # noqa: S307 - running code is the job
        return eval(code, self.globals)  # noqa: S307

    def _complete(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except BaseException as error:
            if task.done():
                raise
            task.cancel()  # interrupted while it waited: let its `finally` blocks run
            self._loop.run_until_complete(asyncio.wait([task], timeout=_CLEANUP_S))
            if not task.cancelled():
                raise
            raise error.with_traceback(_where_cancelled(task)) from None

    def _show(self, value: Any) -> None:
        """Display the value where it has a rich form, then pyplot's figures that are still open."""
        bundle = displays.rich_bundle(value)
        if bundle is not None and value not in self._shown:
            self._shown.add(value)
            self._outlet.display(bundle)
        for figure in displays.take_open_figures(self._shown):
            self._outlet.display(figure)


def _parse(source: str, filename: str) -> ast.Module:
    """Parse without collecting garbage: a finaliser that shows a traceback parses too.

    The parser is not re-entrant; it would blame this source ("recursion depth mismatch").
    """
    with _no_collection():
        # Not ast.parse: its frame would be in the traceback of a SyntaxError.
        tree = compile(source, filename, "exec", flags=ast.PyCF_ONLY_AST, dont_inherit=True)
        return cast("ast.Module", tree)


def _compile(tree: ast.Module | ast.Expression, filename: str, mode: str, flags: int) -> Any:
    with _no_collection():
        return compile(tree, filename, mode, flags=flags, dont_inherit=True)


class _no_collection:  # noqa: N801 - reads as a statement
    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_exc: object) -> None:
        if self._was_enabled:
            gc.enable()


def _split(tree: ast.Module) -> tuple[ast.Module, ast.Expression | None]:
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body.pop()
        return tree, ast.Expression(last.value)  # type: ignore[attr-defined]  # just checked
    return tree, None


def _future_flags(tree: ast.Module) -> int:
    """Return the flags of ``from __future__`` imports, which hold for the session's later runs."""
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                flags |= _FUTURES.get(alias.name, 0)
    return flags


def _where_cancelled(task: asyncio.Task[Any]) -> types.TracebackType | None:
    """Return the traceback of what a task waited for: the loop's own says nothing of it."""
    try:
        task.result()
    except asyncio.CancelledError as error:
        return error.__traceback__
    return None


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own, since this thread's loop is busy running us."""
    outcome: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - carried to the waiting thread
            errors.append(error)

    # With our context, in which the chain of skills is counted.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="skill", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]
