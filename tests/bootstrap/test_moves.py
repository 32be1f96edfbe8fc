"""Between folders and Redis: all or nothing, and the same at the other end."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from store.redis_storages import RoundTrips

from .conftest import SKILL, TOOL, Store


def args(url: str, prefix: str, kind: str = "tools") -> list[str]:
    return ["--target", url, "--prefix", prefix, "--type", kind]


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder but the storage's own."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".state" not in path.parts
    }


@pytest.mark.parametrize("kind", ["tools", "skills"])
def test_a_folder_gets_to_redis_and_back_as_it_was(
    store: Store, source: Path, tmp_path: Path, shared_redis_url: str, redis_prefix: str, kind: str
) -> None:
    target = args(shared_redis_url, redis_prefix, kind)
    filled = store("bootstrap", "--source", source / kind, *target)
    assert (filled.code, filled.err) == (0, "")
    assert filled.out.startswith("+ one\n+ two\nRedis at ")
    assert filled.out.endswith(": 2 added, 0 changed, 0 removed, 0 unchanged\n")
    pulled = store("pull", "--dest", tmp_path / "pulled", *target)
    assert (pulled.code, pulled.out) == (0, f"2 {kind} written to {tmp_path / 'pulled'}\n")
    assert tree(tmp_path / "pulled") == tree(source / kind)
    again = store("bootstrap", "--source", tmp_path / "pulled", "--clear", "--json", *target)
    assert again.json[0]["changes"] == {
        "added": [],
        "changed": [],
        "removed": [],
        "unchanged": ["one", "two"],
    }


def test_packages_get_to_redis_and_back(
    store: Store,
    source: Path,
    tmp_path: Path,
    shared_redis_url: str,
    redis_prefix: str,
    foreign: redis.Redis,
) -> None:
    target = args(shared_redis_url, redis_prefix, "deps")
    assert store("bootstrap", "--source", source, *target).code == 0
    assert foreign.smembers(f"{redis_prefix}:deps") == {"requests>=2.0", "numpy"}
    assert store("pull", "--dest", tmp_path / "pulled", *target).code == 0
    assert tree(tmp_path / "pulled") == {"requirements.txt": "numpy\nrequests>=2.0\n"}
    assert store("diff", "--source", tmp_path / "pulled", *target).code == 0


def test_a_package_that_is_there_gets_the_new_spec(
    store: Store, shared_redis_url: str, redis_prefix: str, foreign: redis.Redis
) -> None:
    foreign.sadd(f"{redis_prefix}:deps", "Requests>=1", "numpy", "not a spec!")
    changed = store(
        *("bootstrap", "--deps", "requests>=2.0", "httpx", "--json"),
        *args(shared_redis_url, redis_prefix, "deps"),
    )
    changes = changed.json[0]["changes"]
    assert (changes["added"], changes["changed"]) == (["httpx"], ["requests"])
    assert foreign.smembers(f"{redis_prefix}:deps") == {
        *("requests>=2.0", "httpx", "numpy", "not a spec!")
    }


def test_a_skill_keeps_the_description_it_has_beside_its_source(
    store: Store,
    source: Path,
    tmp_path: Path,
    shared_redis_url: str,
    redis_prefix: str,
    foreign: redis.Redis,
) -> None:
    target = args(shared_redis_url, redis_prefix, "skills")
    store("bootstrap", "--source", source, *target)
    foreign.hset(f"{redis_prefix}:skills:one", "description", "Of its own.")
    store("pull", "--dest", tmp_path / "pulled", *target)
    foreign.delete(f"{redis_prefix}:skills:one")
    store("bootstrap", "--source", tmp_path / "pulled", *target)
    assert foreign.hget(f"{redis_prefix}:skills:one", "description") == "Of its own."


@pytest.mark.parametrize("kind", ["tools", "skills", "deps"])
def test_redis_is_a_source_and_a_folder_a_target(
    store: Store, source: Path, tmp_path: Path, shared_redis_url: str, redis_prefix: str, kind: str
) -> None:
    store("bootstrap", "--source", source, *args(shared_redis_url, redis_prefix, kind))
    copied = store(
        *("bootstrap", "--source", shared_redis_url, "--source-prefix", redis_prefix),
        *("--target", tmp_path / "base", "--type", kind),
    )
    assert (copied.code, copied.err) == (0, "")
    same = store("diff", "--source", source, "--target", tmp_path / "base", "--type", kind)
    assert same.code == 0
    other = args(shared_redis_url, f"{redis_prefix}:copy", kind)
    from_redis = ("--source", shared_redis_url, "--source-prefix", redis_prefix)
    assert store("bootstrap", *from_redis, *other).code == 0
    assert store("diff", *from_redis, *other).code == 0


def test_the_folder_of_one_kind_is_a_target_as_its_storage_is(
    store: Store, source: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    to_kind = ("--target", base / "tools", "--type", "tools")
    assert store("bootstrap", "--source", source / "tools", *to_kind).code == 0
    listed = store("list", "--target", base, "--type", "tools", "--json")
    assert [item["name"] for item in listed.json] == ["one", "two"]
    cleared = source / "tools" / "one.yaml"
    cleared.unlink()
    again = store("bootstrap", "--source", source, "--clear", "--json", *to_kind)
    assert again.json[0]["changes"]["removed"] == ["one"]
    assert list(tree(base)) == ["tools/two.yaml"]


# All or nothing


BAD = {
    "tools": {
        "bad.yaml": TOOL.format(name="bad") + "schema:\n  options:\n    x: {type: colour}\n",
        "worse.yaml": "name: [\n",
    },
    "skills": {
        "bad.py": '"""Bad."""\n\n\ndef run(:\n    pass\n',
        "none.py": '"""Has no run."""\n\nx = 1\n',
        "class.py": SKILL.format(name="a keyword"),
    },
}


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("tools", ["bad.yaml:6: ", "worse.yaml:2: "]),
        ("skills", ["bad.py:4: ", "none.py:1: ", "class.py:1: "]),
    ],
)
def test_bad_items_are_told_by_file_and_line_and_nothing_is_written(
    store: Store,
    source: Path,
    shared_redis_url: str,
    redis_prefix: str,
    foreign: redis.Redis,
    kind: str,
    places: list[str],
) -> None:
    for name, text in BAD[kind].items():
        (source / kind / name).write_text(text)
    target = args(shared_redis_url, redis_prefix, kind)
    refused = store("bootstrap", "--source", source, *target)
    assert (refused.code, refused.out) == (1, "")
    lines = refused.err.splitlines()
    for place in places:
        assert sum(line.startswith(str(source / kind / place)) for line in lines) == 1, place
    assert lines[-1] == f"py-code-mode: {len(places)} problems; nothing was changed"
    assert not list(foreign.scan_iter(match=f"{redis_prefix}:*"))
    as_json = store("bootstrap", "--source", source, "--json", *target)
    assert as_json.code == 1
    assert sorted(problem["line"] for problem in as_json.json["problems"]) == sorted(
        int(place.split(":")[1]) for place in places
    )


def test_files_that_are_no_text_are_told(store: Store, source: Path, tmp_path: Path) -> None:
    (source / "tools" / "bad.yaml").write_bytes(b"name: x\n\xff\n")
    (source / "tools" / "away.yaml").symlink_to(tmp_path / "absent")
    refused = store("bootstrap", "--source", source, "--target", tmp_path / "b", "--type", "tools")
    assert refused.code == 1
    assert "bad.yaml:2: not UTF-8 text" in refused.err
    assert "away.yaml:1: cannot be read: No such file" in refused.err
    assert not (tmp_path / "b").exists()


def test_two_files_of_one_tool_are_told(store: Store, source: Path, tmp_path: Path) -> None:
    (source / "tools" / "three.yaml").write_text(TOOL.format(name="two"))
    refused = store("bootstrap", "--source", source, "--target", tmp_path / "b", "--type", "tools")
    assert refused.code == 1
    assert "two.yaml:1: the tool 'two' is in" in refused.err


def test_bad_packages_are_told_by_line_also_beside_other_items(
    store: Store, source: Path, shared_redis_url: str, redis_prefix: str, foreign: redis.Redis
) -> None:
    (source / "requirements.txt").write_text("numpy\n\n-r other.txt\nhttps://x/y.whl\n")
    refused = store("bootstrap", "--source", source, *args(shared_redis_url, redis_prefix, "deps"))
    assert refused.code == 1
    for line in (3, 4):
        assert f"requirements.txt:{line}: " in refused.err
    beside = store(
        *("bootstrap", "--source", source, "--deps", "numpy", "x @ file:///y"),
        *args(shared_redis_url, redis_prefix, "tools"),
    )
    assert beside.code == 1
    assert "--deps:2: " in beside.err
    assert not list(foreign.scan_iter(match=f"{redis_prefix}:*"))


# What is removed


def test_clear_removes_what_the_source_no_longer_has_and_leaves_what_agents_made(
    store: Store, source: Path, shared_redis_url: str, redis_prefix: str, foreign: redis.Redis
) -> None:
    target = args(shared_redis_url, redis_prefix, "skills")
    store("bootstrap", "--source", source, *target)
    mine = ["source", SKILL.format(name="mine"), "origin", "agent"]
    foreign.hset(f"{redis_prefix}:skills:mine", items=mine)
    (source / "skills" / "one.py").unlink()
    (source / "skills" / "two.py").write_text(SKILL.format(name="second"))
    (source / "skills" / "three.py").write_text(SKILL.format(name="three"))
    kept = store("bootstrap", "--source", source, "--dry-run", *target)
    assert kept.out.splitlines()[:2] == ["+ three", "~ two"]
    compared = store("diff", "--source", source, *target)
    assert (compared.code, compared.out.splitlines()[:3]) == (1, ["+ three", "~ two", "- one"])
    cleared = store("bootstrap", "--source", source, "--clear", *target)
    assert cleared.out.splitlines()[:3] == ["+ three", "~ two", "- one"]
    keys = sorted(str(key).split(":")[-1] for key in foreign.keys(f"{redis_prefix}:skills:*"))
    assert keys == ["mine", "three", "two"]
    assert foreign.hget(f"{redis_prefix}:skills:two", "version") == "2"
    assert store("diff", "--source", source, *target).code == 0


def test_a_dry_run_changes_nothing(
    store: Store, source: Path, tmp_path: Path, shared_redis_url: str, redis_prefix: str
) -> None:
    targets = [shared_redis_url, str(tmp_path / "base")]
    for target in targets:
        dry = store("bootstrap", "--source", source, "--dry-run", *args(target, redis_prefix))
        assert (dry.code, dry.err) == (0, "")
        assert dry.out.endswith(
            "2 added, 0 changed, 0 removed, 0 unchanged (dry run: nothing was changed)\n"
        )
        assert store("list", *args(target, redis_prefix)).out == ""


# How much it costs


def test_two_hundred_tools_take_four_round_trips(
    store: Store,
    tmp_path: Path,
    shared_redis_url: str,
    redis_prefix: str,
    round_trips: RoundTrips,
) -> None:
    for number in range(200):
        (tmp_path / f"t{number}.yaml").write_text(TOOL.format(name=f"t{number}"))
    target = args(shared_redis_url, redis_prefix)
    assert store("bootstrap", "--source", tmp_path, *target).code == 0
    assert round_trips.sent <= 4


def test_thousands_of_skills_are_saved_in_one_step(
    store: Store, tmp_path: Path, shared_redis_url: str, redis_prefix: str, foreign: redis.Redis
) -> None:
    for number in range(2000):
        (tmp_path / f"s{number}.py").write_text(SKILL.format(name=number))
    target = args(shared_redis_url, redis_prefix, "skills")
    assert store("bootstrap", "--source", tmp_path, *target).code == 0
    assert foreign.hget(f"{redis_prefix}:revision:skills", "n") == "1"
    assert len(list(foreign.scan_iter(match=f"{redis_prefix}:skills:*"))) == 2000
