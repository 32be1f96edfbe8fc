"""The untrusted half: what runs inside a session's sandboxed process.

Standard library, msgpack and cloudpickle only; never imports :mod:`py_code_mode`.
"""
