"""Puts a session's tools behind the protocol, with errors that a model can act on."""

from __future__ import annotations

import inspect
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError

from py_code_mode._version import __version__
from py_code_mode.errors import CodeModeError
from py_code_mode.mcp_server.tools import ANNOTATIONS, CHANGE_DEPS, SessionTools
from py_code_mode.sessions.session import Session
from py_code_mode.text import close_matches

_INSTRUCTIONS: Final = """\
Act by writing Python: run_code keeps variables from call to call, so work in steps and look at \
what comes back. Before you write something new, search_tools and search_skills for what is there; \
inside run_code, help(tools.NAME) shows how a tool is called. Save what worked with create_skill."""


def make_server(session: Session, *, runtime_deps: bool) -> MCPServer[Any]:
    """Return a server whose tools act on one session, which must be open."""
    tools = SessionTools(session)
    names = [name for name in ANNOTATIONS if runtime_deps or name not in CHANGE_DEPS]
    return MCPServer(
        "py-code-mode",
        title="py-code-mode",
        version=__version__,
        instructions=_INSTRUCTIONS,
        tools=[_tool(tools, name) for name in names],
        log_level="WARNING",
    )


def _tool(tools: SessionTools, name: str) -> Tool:
    method = getattr(tools, name)
    tool = SessionTool.from_function(
        method,
        description=inspect.cleandoc(method.__doc__),
        annotations=ANNOTATIONS[name],
        structured_output=False,
    )
    return tool.model_copy(
        update={"parameters": {**tool.parameters, "additionalProperties": False}}
    )


class SessionTool(Tool):
    """A tool that says what is wrong with its arguments, and that ours are no crashes."""

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,  # noqa: FBT001, FBT002 - the package's own signature
    ) -> Any:
        """Run the tool. Raises ToolError with what the model is to read."""
        known = list(self.parameters["properties"])
        for given in arguments:
            if given not in known:
                raise ToolError(
                    f"{self.name} takes {', '.join(known) or 'no arguments'}, and has none called"
                    f" {given[:80]!r}{close_matches(given, known)}"
                )
        try:
            return await super().run(arguments, context, convert_result=convert_result)
        except ToolError as error:
            told = _told(error.__cause__)
            if told is None:
                raise
            raise ToolError(f"{self.name}: {told}") from error.__cause__


def _told(cause: BaseException | None) -> str | None:
    """Return what an error of ours says, or which arguments do not fit; None for a crash."""
    if isinstance(cause, CodeModeError):
        return f"{type(cause).__name__}: {cause.message}"
    if isinstance(cause, ValidationError):
        problems = cause.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in problems
        )
    return None
