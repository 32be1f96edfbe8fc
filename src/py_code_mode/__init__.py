"""A place for LLM agents to write Python: persistent, sandboxed sessions."""

from py_code_mode._version import __version__

__all__ = ["__version__"]
