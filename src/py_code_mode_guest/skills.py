"""``skills``: the host keeps the source, this process runs it, sandboxed like all agent code."""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final

from py_code_mode_guest import errors, tracebacks
from py_code_mode_guest.channel import Channel
from py_code_mode_guest.interpreter import Interpreter
from py_code_mode_guest.namespaces import Namespace
from py_code_mode_guest.records import Record

MAX_DEPTH: Final = 20

_chain: ContextVar[tuple[str, ...]] = ContextVar("skill_chain", default=())


class Invoke:
    """``skills.invoke(name, **kwargs)``: run a skill and return what its ``run`` returns."""

    def __init__(
        self, call: Callable[..., Any], call_async: Callable[..., Coroutine[Any, Any, Any]]
    ) -> None:
        self._call = call
        self.call_async = call_async
        self.__name__ = "invoke"

    def __call__(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        return self._call(name, *args, **kwargs)

    def signature(self) -> str:
        """Return the typed signature."""
        return "skills.invoke(name: str, /, **kwargs) -> the skill's result"

    def __repr__(self) -> str:
        return f"<{self.signature()}>"


class Skill:
    """One skill by name: ``skills.name(**kwargs)``."""

    def __init__(self, skills: Skills, name: str) -> None:
        self._skills = skills
        self.__name__ = name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._skills.invoke(self.__name__, *args, **kwargs)

    async def call_async(self, /, *args: Any, **kwargs: Any) -> Any:
        """As calling it, without blocking other coroutines."""
        return await self._skills.invoke_async(self.__name__, *args, **kwargs)

    @property
    def __doc__(self) -> str:  # type: ignore[override]  # the skill's own words, fetched when asked
        detail = self._skills.get(self.__name__)
        return f"{self.signature(detail)}\n\n{detail.description}"

    def signature(self, detail: Record | None = None) -> str:
        """Return the typed signature."""
        parameters = (detail or self._skills.get(self.__name__)).parameters
        return f"skills.{self.__name__}({', '.join(map(_parameter, parameters))})"

    def __repr__(self) -> str:
        return f"<skill {self.__name__}>"


class Skills(Namespace):
    """The namespace: the host's operations, ``invoke``, and every skill as an attribute."""

    def __init__(
        self,
        channel: Channel,
        name: str,
        operations: list[dict[str, str]],
        *,
        interpreter: Interpreter,
        scope: dict[str, Any],
    ) -> None:
        super().__init__(channel, name, operations)
        self.__dict__["_interpreter"] = interpreter
        self.__dict__["_scope"] = scope
        self.__dict__["invoke"] = Invoke(self._invoke, self._invoke_async)
        self.__dict__["invoke_async"] = self._invoke_async

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self._operations:
            return super().__getattr__(name)
        return Skill(self, name)

    def _invoke(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        token, run = self._prepare(self.get(name), args, kwargs)
        try:
            result = run(**kwargs)
            return (
                self._interpreter.run_coroutine(result) if inspect.iscoroutine(result) else result
            )
        finally:
            _chain.reset(token)

    async def _invoke_async(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        detail = await self.get.call_async(name)
        token, run = self._prepare(detail, args, kwargs)
        try:
            if inspect.iscoroutinefunction(run):
                return await run(**kwargs)
            return await asyncio.to_thread(run, **kwargs)
        finally:
            _chain.reset(token)

    def _prepare(
        self, detail: Record, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Callable[..., Any]]:
        chain = (*_chain.get(), detail.name)
        _check_depth(chain)
        token = _chain.set(chain)
        try:
            run = self._load(detail)
            _check_arguments(detail.name, run, args, kwargs)
        except BaseException:
            _chain.reset(token)
            raise
        return token, run

    def _load(self, detail: Record) -> Callable[..., Any]:
        """Execute the skill's module in a fresh namespace and return its ``run``."""
        filename = f"<skill {detail.name} v{detail.version}>"
        tracebacks.remember_source(filename, detail.source)
        module = types.ModuleType(f"skills.{detail.name}")
        # Where dataclasses and type hints look for the names that annotations are made of.
        sys.modules[module.__name__] = module
        scope = module.__dict__
        scope.update(self._scope)
        exec(compile(detail.source, filename, "exec", dont_inherit=True), scope)  # noqa: S102
        run = scope.get("run")
        if not callable(run):
            raise errors.InvalidSkillError(f"skill {detail.name!r} defines no function run(...)")
        return run  # type: ignore[no-any-return]  # callable is all that is known of it


def _check_depth(chain: tuple[str, ...]) -> None:
    if len(chain) <= MAX_DEPTH:
        return
    name = chain[-1]
    earlier = [i for i, other in enumerate(chain[:-1]) if other == name]
    cycle = chain[earlier[-1] :] if earlier else chain
    raise errors.SkillDepthError(
        f"skills invoke each other more than {MAX_DEPTH} levels deep: {' -> '.join(cycle)}."
        " Give the recursion an end, or call a plain function instead.",
        chain=list(cycle),
    )


def _check_arguments(
    name: str, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    signature = inspect.signature(run)
    if args:
        raise errors.InvalidArgumentError(
            f"skills.{name}{signature}: it takes arguments by their names only, as name=value"
        )
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        raise errors.InvalidArgumentError(f"skills.{name}{signature}: {error}") from None


def _parameter(parameter: dict[str, Any]) -> str:
    text = f"{parameter['name']}: {parameter['type']}"
    return f"{text} = {parameter['default']}" if "default" in parameter else text
