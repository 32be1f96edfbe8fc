"""Which rules a set of readable paths becomes, and the lockdown's single steps and failures."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from py_code_mode_guest import lockdown, syscalls
from py_code_mode_guest.landlock import READ_DIR, READ_FILE, WRITE_FILE, ReadRules
from py_code_mode_guest.syscalls import LockdownError

EVERYTHING = READ_FILE | READ_DIR


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """``site`` with two packages and a module, and a file beside it."""
    for package in ("open_package", "hidden_package"):
        (tmp_path / "site" / package).mkdir(parents=True)
        (tmp_path / "site" / package / "__init__.py").touch()
    (tmp_path / "site/module.py").touch()
    (tmp_path / "beside.txt").touch()
    return tmp_path.resolve()


def opened(tree: Path, *paths: str, hidden: tuple[str, ...] = ()) -> dict[str, int]:
    """Return the access of each rule by its path in the tree; paths are relative to it too."""
    rules = ReadRules.open(
        [str(tree / path) for path in paths], hidden=[str(tree / path) for path in hidden]
    )
    for fd in rules.fds:
        os.close(fd)
    return {os.path.relpath(rule.path, tree): rule.access for rule in rules.rules}


def test_a_folder_is_read_whole_and_a_file_by_itself(tree: Path) -> None:
    assert opened(tree, "site", "beside.txt") == {"site": EVERYTHING, "beside.txt": READ_FILE}


def test_missing_paths_are_left_out(tree: Path) -> None:
    assert opened(tree, "nowhere", "beside.txt/below", "beside.txt") == {"beside.txt": READ_FILE}


def test_what_lies_in_a_readable_folder_needs_no_rule_of_its_own(tree: Path) -> None:
    assert opened(tree, "site/module.py", "site/open_package", "site", "site") == {
        "site": EVERYTHING
    }


def test_a_folder_whose_name_merely_starts_alike_is_another_folder(tree: Path) -> None:
    (tree / "site-more").mkdir()
    assert opened(tree, "site", "site-more") == {"site": EVERYTHING, "site-more": EVERYTHING}


def test_a_device_is_written_too_and_pipes_are_left_out(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    rules = ReadRules.open(["/dev/null", str(tree / "pipe")])
    assert [(rule.path, rule.access) for rule in rules.rules] == [
        ("/dev/null", READ_FILE | WRITE_FILE)
    ]
    os.close(rules.fds[0])


def test_a_folder_with_a_hidden_package_is_listed_and_its_other_entries_read(tree: Path) -> None:
    assert opened(tree, "site", hidden=("site/hidden_package",)) == {
        "site": READ_DIR,
        "site/open_package": EVERYTHING,
        "site/module.py": READ_FILE,
    }


def test_a_hidden_path_far_below_splits_only_the_folders_on_the_way(tree: Path) -> None:
    assert opened(tree, ".", hidden=("site/hidden_package/__init__.py",)) == {
        ".": READ_DIR,
        "beside.txt": READ_FILE,
        "site/module.py": READ_FILE,
        "site/open_package": EVERYTHING,
    }


def test_several_hidden_paths_are_all_hidden(tree: Path) -> None:
    hidden = ("site/hidden_package", "site/module.py", "nowhere")
    assert opened(tree, "site", hidden=hidden) == {
        "site": READ_DIR,
        "site/open_package": EVERYTHING,
    }


def test_what_is_hidden_stays_hidden_when_it_is_named_as_readable(tree: Path) -> None:
    hidden = ("site/hidden_package",)
    assert opened(tree, "site/hidden_package", hidden=hidden) == {}
    assert opened(tree, "site/hidden_package/__init__.py", hidden=hidden) == {}


def test_links_do_not_lead_around_what_is_hidden(tree: Path) -> None:
    (tree / "site/alias").symlink_to("hidden_package")
    (tree / "site/self").symlink_to(".")
    (tree / "site/up").symlink_to("..")
    (tree / "site/root").symlink_to("/")
    (tree / "site/dangling").symlink_to("nowhere")
    (tree / "site/loop").symlink_to("loop")
    (tree / "shortcut").symlink_to("site")
    for name in ("site", "shortcut"):
        assert opened(tree, name, hidden=("shortcut/hidden_package",)) == {
            "site": READ_DIR,
            "site/open_package": EVERYTHING,
            "site/module.py": READ_FILE,
        }


def test_a_linked_entry_beside_a_hidden_one_is_read_where_it_leads(tree: Path) -> None:
    (tree / "site/linked.txt").symlink_to("../beside.txt")
    assert opened(tree, "site", hidden=("site/hidden_package",))["beside.txt"] == READ_FILE


def test_rules_hold_paths_open_without_reading_them_and_not_across_exec(tree: Path) -> None:
    rules = ReadRules.open([str(tree / "site"), str(tree / "beside.txt")])
    for fd in rules.fds:
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH
        assert not os.get_inheritable(fd)
        os.close(fd)


def in_child(function: Callable[[], object]) -> int:
    """Run in a fork; return its exit code: 0, 17 for LockdownError, 70 for any other error."""
    with warnings.catch_warnings():
        # Newer Pythons warn if a library that another test loaded has threads; ours uses none.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        except LockdownError:
            os._exit(17)
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_probing_changes_nothing() -> None:
    def limits() -> list[str]:
        status = Path("/proc/self/status").read_text().splitlines()
        return [line for line in status if line.startswith(("Seccomp", "NoNewPrivs", "Cap"))]

    before = limits()
    assert lockdown.seccomp_available()
    assert lockdown.landlock_abi() == lockdown.landlock_abi() >= 0
    assert limits() == before


@pytest.fixture
def forget_machine() -> Iterator[None]:
    for function in (syscalls.this_machine, syscalls.libc):
        function.cache_clear()
    yield
    for function in (syscalls.this_machine, syscalls.libc):
        function.cache_clear()


@pytest.mark.usefixtures("forget_machine")
@pytest.mark.parametrize(
    ("attribute", "value"), [("platform", "darwin"), ("platform", "win32"), ("maxsize", 2**31 - 1)]
)
def test_elsewhere_the_probes_say_no_and_the_rest_refuses(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: object
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, attribute, value)
        assert lockdown.landlock_abi() == 0
        assert not lockdown.seccomp_available()
        with pytest.raises(LockdownError, match="64-bit Linux on x86_64 or aarch64"):
            lockdown.no_new_privileges()


def test_an_error_names_the_step_and_the_reason() -> None:
    error = LockdownError("landlock_add_rule", errno.EBADF)
    assert (error.step, error.errno) == ("landlock_add_rule", errno.EBADF)
    assert str(error) == (
        f"lockdown failed at landlock_add_rule: Bad file descriptor (errno {errno.EBADF})"
    )


def test_a_kernel_without_landlock_is_not_taken_for_confinement() -> None:
    with pytest.raises(LockdownError, match="landlock"):
        lockdown.restrict_files(ReadRules([]), [], abi=0)


def test_a_writable_folder_must_not_be_a_link(tree: Path) -> None:
    if not lockdown.landlock_abi():
        pytest.skip("needs Landlock")
    (tree / "link").symlink_to("site")
    assert in_child(lambda: _confine([str(tree / "site")])) == 0
    assert in_child(lambda: _confine([str(tree / "link")])) == 70
    assert in_child(lambda: _confine([999])) == 17


def _confine(writable: list[int | str]) -> None:
    lockdown.no_new_privileges()
    lockdown.restrict_files(ReadRules([]), writable, abi=lockdown.landlock_abi())


def test_a_filter_for_another_machine_is_not_installed() -> None:
    here = syscalls.this_machine()
    other = next(machine for machine in syscalls.Machine if machine is not here)
    program = lockdown.compile_filter(own_uid=False, truncate=False, machine=other)
    with pytest.raises(LockdownError, match="another machine"):
        lockdown.install_filter(program, os.getpid())


@pytest.mark.root
def test_without_no_new_privileges_nothing_is_half_confined() -> None:
    program = lockdown.compile_filter(own_uid=True, truncate=True)

    def confine() -> None:
        lockdown.become(61234, 61234)
        lockdown.install_filter(program, os.getpid())

    assert in_child(confine) == 17


@pytest.mark.root
def test_only_root_can_become_another_and_empty_the_bounding_set() -> None:
    def steal() -> None:
        lockdown.become(61234, 61234)
        if lockdown.drop_bounding_set():
            os._exit(1)
        lockdown.become(61235, 61235)

    assert in_child(steal) == 17


@pytest.mark.parametrize("known", [True, False], ids=["close_range", "older kernel"])
def test_every_other_descriptor_is_closed(monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
    def close_some() -> None:
        kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(6)][1::2]
        if not known:
            monkeypatch.setitem(syscalls._numbers(), "close_range", 100_000)
        lockdown.close_all_fds_but(kept)
        left = {int(name) for name in os.listdir("/proc/self/fd")}
        assert left - set(kept) == {0}  # the listing's own, the lowest free number

    assert in_child(close_some) == 0


def test_a_worker_whose_parent_is_gone_ends_at_once() -> None:
    assert in_child(lambda: lockdown.die_with_parent(os.getpid())) == 1


def test_a_worker_dies_with_its_parent() -> None:
    reader, writer = os.pipe()

    def be_a_short_lived_parent() -> None:
        me = os.getpid()
        if os.fork() == 0:
            lockdown.die_with_parent(me)
            os.write(writer, b"ready")
            signal.pause()
        assert os.read(reader, 5) == b"ready"

    assert in_child(be_a_short_lived_parent) == 0
    os.close(writer)
    assert os.read(reader, 1) == b""  # the grandchild held the last copy of the other end
    os.close(reader)


def test_the_lockdown_needs_nothing_but_the_standard_library() -> None:
    source = Path(lockdown.__file__).parents[1]
    command = "import sys; sys.path.insert(0, sys.argv[1]); import py_code_mode_guest.lockdown"
    subprocess.run([sys.executable, "-I", "-S", "-c", command, str(source)], check=True)
