"""Redis is an extra: nothing loads it unasked, and its absence is told with the line to run."""

from __future__ import annotations

import subprocess
import sys


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_does_not_import_redis() -> None:
    code = (
        "import sys, py_code_mode\n"
        "print('redis' in sys.modules)\n"
        "from py_code_mode import RedisStorage\n"
        "print(RedisStorage.__name__, 'redis' in sys.modules, 'RedisStorage' in dir())\n"
    )
    assert python(code).split() == ["False", "RedisStorage", "True", "True"]


def test_without_redis_the_error_names_the_extra() -> None:
    code = (
        "import sys\n"
        "sys.modules['redis'] = None\n"
        "import py_code_mode\n"
        "try:\n"
        "    from py_code_mode import RedisStorage\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert python(code) == (
        "RedisStorage needs redis-py, which is an extra: pip install 'py-code-mode[redis]'\n"
    )


def test_the_store_command_without_redis_names_the_extra() -> None:
    code = (
        "import sys\n"
        "sys.modules['redis'] = None\n"
        "from py_code_mode.cli.store import main\n"
        "sys.stderr = sys.stdout\n"
        "print(main(['list', '--target', 'redis://localhost']))\n"
    )
    assert python(code) == (
        "py-code-mode: RedisStorage needs redis-py, which is an extra: "
        "pip install 'py-code-mode[redis]'\n2\n"
    )


def test_every_public_name_is_there_once_it_is_asked_for() -> None:
    code = (
        "import sys, py_code_mode\n"
        "print('py_code_mode.models' in sys.modules)\n"
        "for name in py_code_mode.__all__:\n"
        "    assert name in dir(py_code_mode), name\n"
        "    found = getattr(py_code_mode, name)\n"
        "    assert getattr(found, '__name__', name) == name, name\n"
        "from py_code_mode import *\n"
        "print(Session.__name__)\n"
    )
    assert python(code).split() == ["False", "Session"]


def test_what_the_package_does_not_have_is_an_attribute_error() -> None:
    assert python("import py_code_mode\nprint(hasattr(py_code_mode, 'Redis'))") == "False\n"
