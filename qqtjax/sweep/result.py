"""What a sweep found, as arrays and as a table, in memory or read back from its folder."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.runs import Pools
from qqtjax.sweep.folder import damaged, finished, read_arrays, read_manifest, read_part
from qqtjax.sweep.simplex import Simplex

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclasses.dataclass(frozen=True, eq=False)
class Axes:
    """What the places on the axes of a sweep stand for.

    Attributes:
        names: the axes of the arrays in order: draw, size, budget, mix, those that were given, or `point` where they
            were zipped; then `rank` of the k best mixes, or `level` of quantiles.
        shape: how long they are.
        pools: the pools.
        budgets: `[B]` samples seen.
        sizes: `[Z, P]`.
        mixes: `[W, P]`, a `Simplex`, or None where the best mix was sought.
        mix_names: their names, or empty.
        draws: number of parameter draws.
        levels: of quantiles, or empty.
        law: name of the law.
        metric: what the error measures.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    pools: Pools
    budgets: np.ndarray
    sizes: np.ndarray
    mixes: np.ndarray | Simplex | None
    mix_names: tuple[str, ...]
    draws: int
    levels: tuple[float, ...]
    law: str
    metric: str

    @property
    def size(self) -> int:
        """How many numbers an array of errors has."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """Predicted errors, or best mixes, at every point of a grid.

    Attributes:
        axes: what the axes stand for.
        read: gets the columns from where they are.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> found = qqt.sweep(paper, budgets=[64e6, 640e6], filters=True)
        >>> found.axes.names, found.error.shape, found.error.argmin(axis=1).tolist()
        (('budget', 'mix'), (2, 4), [0, 1])
    """

    axes: Axes
    read: Callable[[], dict[str, np.ndarray]]

    @functools.cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """`{name: array}` whose leading axes are `axes.names`; read from the folder at the first look.

        `error`; with `TopK` also `mix`; with `optimize` also `weights` and `gap`.
        """
        return self.read()

    @property
    def error(self) -> np.ndarray:
        """Predicted errors, in the unit of the metric."""
        return self.columns["error"]

    @property
    def gap(self) -> np.ndarray:
        """Duality gaps, or for a local search KKT residuals, in the unit of the error.

        Raises:
            InputError: the sweep did not optimise.
        """
        return self._column("gap", "optimize=True")

    @property
    def mix(self) -> np.ndarray:
        """Numbers of the best mixes, `[..., k]`.

        Raises:
            InputError: the sweep did not reduce by `TopK`.
        """
        return self._column("mix", "reduce=TopK(k)")

    @property
    def weights(self) -> np.ndarray:
        """`[..., P]` shares: of the best mix where one was sought or kept, else of every mix `[W, P]`."""
        if "weights" in self.columns:
            return self.columns["weights"]
        numbers = self.columns.get("mix")
        if numbers is None:
            numbers = np.arange(_count(self.axes))
        flat = _shares(self.axes, numbers.reshape(-1))
        return flat.reshape(*numbers.shape, len(self.axes.pools))

    def _column(self, name: str, asked: str) -> np.ndarray:
        if name not in self.columns:
            raise InputError(f"this sweep has no {name}: it was made without {asked}")
        return self.columns[name]

    def frame(self) -> DataFrame:
        """One row a point: draw, size, `samples_seen`, mix, `weight_<pool>`, and the results.

        Places count from 0; `size` numbers the rows of `axes.sizes`, `mix` those of the mixes or is their name.
        """
        return self.head(self.axes.size)

    def head(self, rows: int) -> DataFrame:
        """The first rows of `frame()`, at less cost.

        Args:
            rows: how many.
        """
        import pandas as pd

        axes, pools = self.axes, self.axes.pools.names
        count = min(rows, axes.size)
        first = np.unravel_index(np.arange(count), axes.shape) if axes.shape else ()
        places = dict(zip(axes.names, first, strict=True))
        if "point" in places:
            point = places.pop("point")
            many = {"draw": axes.draws, "size": len(axes.sizes), "budget": len(axes.budgets)}
            many["mix"] = _count(axes)
            places = {name: point for name, length in many.items() if length > 1}
        table: dict[str, Any] = {name: places[name] for name in ("draw", "size") if name in places}
        budgets = axes.budgets
        table["samples_seen"] = budgets[places["budget"]] if "budget" in places else np.full(count, budgets[0])
        if "rank" in places:
            table["rank"] = places["rank"] + 1
        if "level" in places:
            table["level"] = np.asarray(axes.levels)[places["level"]]
        if axes.mixes is not None:
            number = places.get("mix", np.zeros(count, np.int64))
            if "rank" in places:
                number = self.mix.ravel()[:count]
            if "mix" in places or "rank" in places:
                table["mix"] = np.asarray(axes.mix_names)[number] if axes.mix_names else number
            shares = _shares(axes, number)
        else:
            shares = self.columns["weights"].reshape(-1, len(pools))[:count]
        table |= {f"weight_{name}": shares[:, place] for place, name in enumerate(pools)}
        table["error"] = self.error.ravel()[:count]
        if "gap" in self.columns:
            table["gap"] = self.gap.ravel()[:count]
        return pd.DataFrame(table)


def _count(axes: Axes) -> int:
    """How many mixes there are."""
    if isinstance(axes.mixes, Simplex):
        return axes.mixes.count(len(axes.pools))
    return 1 if axes.mixes is None else len(axes.mixes)


def _shares(axes: Axes, numbers: np.ndarray) -> np.ndarray:
    """`[M, P]` shares of mixes by number."""
    if isinstance(axes.mixes, Simplex):
        return axes.mixes.rows(numbers, len(axes.pools))
    if axes.mixes is None:
        raise InputError("this sweep has no mixes to number: it sought the best one at every point")
    return axes.mixes[numbers]


def empty(axes: Axes, dtype: Any, top: bool, optimize: bool) -> dict[str, np.ndarray]:
    """Arrays for the results of a sweep, to be filled part by part."""
    columns = {"error": np.full(axes.shape, np.nan, dtype)}
    if top:
        columns["mix"] = np.zeros(axes.shape, np.int32)
    if optimize:
        columns["weights"] = np.full((*axes.shape, len(axes.pools)), np.nan, dtype)
        columns["gap"] = np.full(axes.shape, np.nan, dtype)
    return columns


def place(columns: dict[str, np.ndarray], axes: Axes, part: dict[str, np.ndarray]) -> None:
    """Put a part's columns where they belong."""
    where = tuple(part[name] for name in axes.names)
    if not where:  # one point, no axes
        part = {name: values[0] for name, values in part.items()}
    for name, values in columns.items():
        if name == "weights":
            for pool, own in enumerate(axes.pools.names):
                values[(*where, pool)] = part[f"weight_{own}"]
        else:
            values[where] = part[name]


def load_sweep(folder: str | os.PathLike[str]) -> Sweep:
    """Read back what `sweep(..., out=folder)` wrote.

    Args:
        folder: the folder.

    Returns:
        The same `Sweep` that the sweep returned. Its arrays are read, whole, when first asked for: a folder larger
        than the memory is better read file by file with a Parquet reader, whose columns name the places on the axes.

    Raises:
        InputError: no sweep there, a damaged file, or one that is not finished.

    Example:
        >>> import tempfile
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = qqt.sweep(paper, budgets=[64e6, 640e6], weights=qqt.Simplex(0.25), out=folder)
        ...     table = load_sweep(folder).frame()
        >>> table.groupby("samples_seen").error.min().round(4).tolist()
        [0.77, 0.6436]
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    with damaged(folder):
        axes = _axes(manifest, read_arrays(folder))
        missing = set(range(manifest["parts"])) - finished(folder)
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {manifest['parts']} parts are missing; run the same sweep again to finish it"
        )

    def read() -> dict[str, np.ndarray]:
        with damaged(folder):
            names = manifest["columns"]
            columns = empty(axes, manifest["identity"]["dtype"], top="rank" in names, optimize="gap" in names)
            for part in range(manifest["parts"]):
                place(columns, axes, read_part(folder, part))
        return columns

    return Sweep(axes, read)


def described(axes: Axes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Axes as plain data and, what is long, as arrays; `_axes` makes them again."""
    mixes = axes.mixes
    plain = {
        "axes": list(axes.names),
        "shape": list(axes.shape),
        "pools": list(axes.pools.names),
        "simplex": mixes.step if isinstance(mixes, Simplex) else None,
        "mix_names": list(axes.mix_names),
        "draws": axes.draws,
        "levels": list(axes.levels),
        "law": axes.law,
        "metric": axes.metric,
    }
    arrays = {"budgets": axes.budgets, "sizes": axes.sizes, "pool_sizes": axes.pools.sizes}
    if isinstance(mixes, np.ndarray):
        arrays["mixes"] = mixes
    return plain, arrays


def _axes(plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> Axes:
    return Axes(
        names=tuple(plain["axes"]),
        shape=tuple(plain["shape"]),
        pools=Pools(tuple(plain["pools"]), arrays["pool_sizes"]),
        budgets=arrays["budgets"],
        sizes=arrays["sizes"],
        mixes=arrays.get("mixes") if plain["simplex"] is None else Simplex(plain["simplex"]),
        mix_names=tuple(plain["mix_names"]),
        draws=plain["draws"],
        levels=tuple(plain["levels"]),
        law=plain["law"],
        metric=plain["metric"],
    )
