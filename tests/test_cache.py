"""Compiled programs kept between processes: where, by which switch, and that a second process uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import platformdirs
import pytest

from qqtjax.cache import enable_compile_cache

OPTIONS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {option: jax.config.values[option] for option in OPTIONS}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.delenv("QQTJAX_CACHE", raising=False)
    yield
    for option, value in before.items():
        jax.config.update(option, value)


def configured() -> str | None:
    return jax.config.values["jax_compilation_cache_dir"]


@pytest.mark.parametrize("word", ["0", "off", "OFF", "no", "false"])
def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("QQTJAX_CACHE", word)
    assert enable_compile_cache() is None
    assert configured() is None


def test_the_switch_names_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    monkeypatch.setenv("QQTJAX_CACHE", str(folder))
    assert enable_compile_cache() == folder
    assert folder.is_dir()
    assert configured() == str(folder)


def test_an_argument_goes_before_the_switch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QQTJAX_CACHE", "0")
    assert enable_compile_cache(tmp_path / "mine") == tmp_path / "mine"
    assert configured() == str(tmp_path / "mine")


@pytest.mark.parametrize("switch", [None, ""])
def test_by_default_it_is_in_the_users_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switch: str | None
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    if switch is not None:
        monkeypatch.setenv("QQTJAX_CACHE", switch)
    assert enable_compile_cache() == tmp_path / "qqtjax" / "compiled"
    assert configured() == str(tmp_path / "qqtjax" / "compiled")


def test_a_folder_that_jax_has_already_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
    monkeypatch.setenv("QQTJAX_CACHE", str(tmp_path / "ours"))
    assert enable_compile_cache() == tmp_path / "jax"
    assert configured() == str(tmp_path / "jax")


def test_a_folder_that_cannot_be_made_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("QQTJAX_CACHE", str(tmp_path / "file" / "below"))
    assert enable_compile_cache() is None
    assert configured() is None


# Evaluates a law, and counts what JAX says of its cache.
PROGRAM = """
import json, jax, numpy as np, qqtjax as qqt
counts = {}
jax.monitoring.register_event_listener(lambda event, **_: counts.update({event: counts.get(event, 0) + 1}))
folder = qqt.enable_compile_cache()
error = qqt.published("datacomp-tmars").utility.predict({"top 10 %": 1}, 32e6)
hits, misses = (counts.get(f"/jax/compilation_cache/cache_{each}", 0) for each in ("hits", "misses"))
print(json.dumps({"folder": str(folder), "hits": hits, "misses": misses, "error": float(error)}))
"""


def in_a_process(folder: str) -> dict:
    environment = {**os.environ, "QQTJAX_CACHE": folder}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def programs(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if not each.name.endswith("-atime"))


def test_a_second_process_uses_what_the_first_compiled(tmp_path: Path) -> None:
    first = in_a_process(str(tmp_path))
    kept = programs(tmp_path)
    assert kept
    second = in_a_process(str(tmp_path))
    assert programs(tmp_path) == kept
    assert first["hits"] == 0
    assert second["hits"] == len(kept)
    assert second["error"] == first["error"]


def test_a_folder_that_cannot_be_used_still_gives_the_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = in_a_process(str(tmp_path / "file"))
    assert answer["folder"] == "None"
    assert answer["error"] == pytest.approx(0.8296, abs=1e-4)
