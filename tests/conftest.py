"""What all tests share: float64 on request, two simulated devices, seeded randomness, the data folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np
import pytest

# Before anything starts the backend: sharding and multi-device code must be testable on one core.
jax.config.update("jax_num_cpu_devices", 2)
# Programs compiled before must not answer for this code, unless the caller gives a folder: an empty one, to share.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_enable_compilation_cache", False)

SEED = 20240411


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that tests start share a cache of this test run, and never see the user's."""
    with pytest.MonkeyPatch.context() as patch:
        given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
        patch.setenv("QQTJAX_CACHE", given or str(tmp_path_factory.mktemp("compiled")))
        patch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        yield


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 for this test only: the library itself must work from either default."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(SEED)


def absent(reason: str) -> NoReturn:
    """Skip with a reason; fail where the data were promised (QQTJAX_REQUIRE_DATA)."""
    if os.environ.get("QQTJAX_REQUIRE_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public tables, named by the environment variable QQTJAX_DATA."""
    named = os.environ.get("QQTJAX_DATA")
    if not named:
        absent("QQTJAX_DATA is not set: it names the folder of public tables, which are not ours to ship")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"QQTJAX_DATA names {folder}, which is not a folder")
    return folder


@pytest.fixture(scope="session")
def golden(data_folder: Path) -> Path:
    """The folder of golden numbers, beside the public tables."""
    folder = data_folder.parent / "golden"
    if not folder.is_dir():
        absent(f"no golden numbers: {folder} is not there")
    return folder
