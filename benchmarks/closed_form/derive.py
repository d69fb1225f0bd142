"""Derive every coefficient of `qqtjax/laws/closed_form.py`, and measure the error of the result.

    python benchmarks/closed_form/derive.py            # derive, write the coefficient file, measure
    python benchmarks/closed_form/derive.py --check    # derive, compare with the committed file, measure

Write S(k) = sum_{m=1}^{k-1} delta^m log(1 + 1/m), delta = exp(-lam), z = lam k, v = 1/k.

1. With log(1 + 1/m) = int_0^inf e^{-ms} (1 - e^{-s}) / s ds, the tail of the infinite sum is

       sum_{m>=k} delta^m log(1 + 1/m) = e^{-z} int_0^inf e^{-ks} g(s) ds
       g(s) = (1 - e^{-s}) / (s (1 - e^{-(lam+s)}))

   g has one pole near the origin, A / (lam + s) with A = (e^lam - 1) / lam, which integrates to A E1(z). The
   rest is e^{lam/2} C(lam, s), C = sinh(s/2) / (s sinh((lam+s)/2)) - 2 sinh(lam/2) / (lam (lam+s)),
   analytic for |lam + s| < 2 pi and odd under (lam, s) -> (-lam, -s). Its Taylor series, integrated term
   by term (s^j -> j! v^{j+1}), gives tail = A E1(z) + e^{lam/2 - z} P(lam, v), P in powers of even total
   degree.
2. The infinite sum is (e^lam - 1) sum_m delta^m log m, a derivative of the polylogarithm in its order at 0.
   Its expansion about lam = 0, convergent for lam < 2 pi, is -A (log lam + gamma_E) + lam A R(lam) with
   R(lam) = -sum_n zeta'(-n) (-lam)^n / n!.
3. Together S(k) = A (lam R + U) - e^{lam/2 - z} P with U = -log lam - gamma_E - E1(z) = log k - Ein(z),
   where Ein(z) = int_0^z (1 - e^{-t}) / t dt is entire: no term grows as lam -> 0.

R, A, Ein(z)/z and log(1 + x)/x become Chebyshev interpolants, z e^z E1(z) a rational least-squares fit with Lawson
weights, P is cut at a total degree, and below a number of epochs or above a rate the sum itself is used.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import mpmath as mp
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "qqtjax" / "laws" / "closed_form_coefficients.py"
DIGITS = 40
CHECK_RELATIVE = 1e-13  # what --check allows between the committed and the derived coefficients


@dataclasses.dataclass(frozen=True)
class Choice:
    """Where the branches switch and how long each approximation is: no piece much worse than the others."""

    direct_terms: int  # M: terms of the direct sum; the expansion takes over at k >= M + 2
    rate_switch: float  # lam at and above which the direct sum is used for every k
    exponent_switch: float  # z that separates log k - Ein(z) from -log lam - gamma_E - E1(z)
    tail_degree: int  # total degree of P in (lam, 1/k)
    zeta_degree: int  # degree of R
    ein_degree: int  # degree of Ein(z)/z
    e1_degree: int  # degree of numerator and denominator of z e^z E1(z)
    growth_degree: int  # degree of A
    log1p_degree: int  # degree of log(1 + x)/x


CHOICES = {
    "FLOAT64": Choice(14, 2.4, 3.0, 10, 16, 15, 4, 15, 20),
    "FLOAT32": Choice(9, 1.7, 2.0, 4, 7, 7, 2, 7, 9),
}


def polynomial(coefficients: Sequence[mp.mpf], x: mp.mpf) -> mp.mpf:
    """The polynomial with ascending coefficients at x."""
    value = mp.mpf(0)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


# --- the exact pieces --------------------------------------------------------------------------------------


def tail_series(degree: int) -> dict[tuple[int, int], Fraction]:
    """Coefficients c[i, j] of P = sum c[i, j] lam^i v^j up to i + j = degree, exact.

    With S(x) = 2 sinh(x/2)/x and w = lam + s, C = (S(s)/S(w) - S(lam)) / w, hence
    C = (S(s) - S(lam)) / w + S(s) (1/S(w) - 1) / w: two polynomials after truncation.
    """
    half = degree // 2 + 1
    sinh = [Fraction(1, 4**a * math.factorial(2 * a + 1)) for a in range(half + 1)]  # S(x) in x^2
    inverse = [Fraction(1)]  # 1/S(w) in w^2
    for n in range(1, half + 1):
        inverse.append(-sum((sinh[a] * inverse[n - a] for a in range(1, n + 1)), Fraction(0)))
    taylor: dict[tuple[int, int], Fraction] = {}  # powers of (lam, s)

    def add(i: int, j: int, value: Fraction) -> None:
        if i + j < degree:
            taylor[i, j] = taylor.get((i, j), Fraction(0)) + value

    for a in range(1, half + 1):  # (s^2a - lam^2a) / (s + lam) = (s - lam) sum_b s^2b lam^2(a-1-b)
        for b in range(a):
            add(2 * (a - 1 - b), 2 * b + 1, sinh[a])
            add(2 * (a - 1 - b) + 1, 2 * b, -sinh[a])
    for n in range(1, half + 1):
        power = 2 * n - 1
        for i in range(power + 1):
            for a in range(half + 1):
                add(i, power - i + 2 * a, inverse[n] * math.comb(power, i) * sinh[a])
    return {(i, j + 1): c * math.factorial(j) for (i, j), c in taylor.items() if c}


def tail_rows(degree: int) -> tuple[tuple[Fraction, ...], ...]:
    """Row i holds the coefficients of lam^i, in powers v, v^3, ... (odd i) or v^2, v^4, ... (even i)."""
    series = tail_series(degree)
    assert all(i >= 1 and (i + j) % 2 == 0 for i, j in series)
    return tuple(tuple(series[i, j] for j in range(2 - i % 2, degree - i + 1, 2)) for i in range(1, degree))


_ZETA: list[mp.mpf] = []


def zeta_series(lam: mp.mpf) -> mp.mpf:
    """R(lam), from its power series about 0."""
    if not _ZETA:  # (2.4 / 2 pi)^80 = 3e-34
        _ZETA.extend(-mp.zeta(-n, 1, 1) * (-1) ** n / mp.factorial(n) for n in range(80))
    return polynomial(_ZETA, lam)


def ein(z: mp.mpf) -> mp.mpf:
    """Ein(z) = E1(z) + log z + gamma_E; its series where that would cancel."""
    if z > 1:
        return mp.e1(z) + mp.log(z) + mp.euler
    return mp.nsum(lambda n: -((-z) ** n) / (n * mp.factorial(n)), [1, mp.inf])


def growth(lam: mp.mpf) -> mp.mpf:
    """A(lam)."""
    return mp.expm1(lam) / lam


def log1p_ratio(x: mp.mpf) -> mp.mpf:
    """log(1 + x) / x."""
    return mp.log1p(x) / x


# --- approximation -----------------------------------------------------------------------------------------


def chebyshev(function: Callable[[mp.mpf], mp.mpf], upper: float, degree: int) -> list[mp.mpf]:
    """Interpolant of `function` on [0, upper] at the Chebyshev nodes, in powers of u = 2 x/upper - 1."""
    n = degree + 1
    angles = [mp.pi * (i + mp.mpf(1) / 2) / n for i in range(n)]
    values = [function((mp.cos(a) + 1) * mp.mpf(upper) / 2) for a in angles]
    modes = [
        (2 - (j == 0)) * mp.fsum(y * mp.cos(j * a) for a, y in zip(angles, values, strict=True)) / n for j in range(n)
    ]
    powers = [mp.mpf(0)] * n
    previous, current = [mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]  # T_0, T_1 in powers of u
    for mode in modes:
        for i, c in enumerate(previous):
            powers[i] += mode * c
        following = [mp.mpf(0)] + [2 * c for c in current]
        for i, c in enumerate(previous):
            following[i] -= c
        previous, current = current, following
    return powers


def in_powers(coefficients: Sequence[mp.mpf], upper: float) -> list[mp.mpf]:
    """The same polynomial in powers of x, given in powers of u = 2 x/upper - 1.

    About x = 0, where A multiplies the largest logarithms, its first coefficient, 1, then is all of it: no rounding.
    """
    powers: list[mp.mpf] = []
    for coefficient in reversed(coefficients):  # Horner, with polynomials in x
        shifted = [mp.mpf(0), *(2 * c / upper for c in powers)]
        for i, c in enumerate(powers):
            shifted[i] -= c
        shifted[0] += coefficient
        powers = shifted
    return powers[: len(coefficients)]


def rational_e1(lower: float, degree: int) -> tuple[list[mp.mpf], list[mp.mpf]]:
    """p, q (ascending, q monic) with z e^z E1(z) ~ p(z)/q(z) for z >= lower, weighted by e^-z/z.

    Linearised least squares (p - f q over the last q) with Lawson weights, which tend to the minimax.
    """
    nodes, span = 120, mp.mpf(40)  # e^-40/40 = 1e-19: beyond it the fit no longer matters
    grid = [lower + span * ((1 - mp.cos(mp.pi * (i + mp.mpf(1) / 2) / nodes)) / 2) ** 2 for i in range(nodes)]
    target = [z * mp.exp(z) * mp.e1(z) for z in grid]
    importance = [mp.exp(-z) / z for z in grid]
    lawson = [mp.mpf(1)] * nodes
    q_values = [z**degree for z in grid]
    best, p, q = mp.inf, [], []
    for _ in range(40):
        rows, right = mp.matrix(nodes, 2 * degree + 1), mp.matrix(nodes, 1)
        for n, (z, f) in enumerate(zip(grid, target, strict=True)):
            scale = importance[n] * mp.sqrt(lawson[n]) / q_values[n]
            for i in range(degree + 1):
                rows[n, i] = scale * z**i
            for i in range(degree):
                rows[n, degree + 1 + i] = -scale * f * z**i
            right[n] = scale * f * z**degree
        answer = mp.qr_solve(rows, right)[0]
        new_p = list(answer[: degree + 1])
        new_q = [*answer[degree + 1 :], mp.mpf(1)]
        q_values = [polynomial(new_q, z) for z in grid]
        errors = [
            abs(polynomial(new_p, z) / d - f) * w for z, d, f, w in zip(grid, q_values, target, importance, strict=True)
        ]
        if max(errors) < best and min(q_values) > 0:
            best, p, q = max(errors), new_p, new_q
        lawson = [w * (e + mp.mpf("1e-40")) for w, e in zip(lawson, errors, strict=True)]
        total = mp.fsum(lawson) / nodes
        lawson = [w / total for w in lawson]
    return p, q


def derive(choice: Choice) -> dict[str, object]:
    """All numbers of one dtype, in the precision of mpmath."""
    p, q = rational_e1(choice.exponent_switch, choice.e1_degree)
    return {
        "rate_switch": mp.mpf(choice.rate_switch),
        "exponent_switch": mp.mpf(choice.exponent_switch),
        "log_steps": tuple(mp.log1p(mp.mpf(1) / m) for m in range(1, choice.direct_terms + 1)),
        "growth": (
            mp.mpf(1),
            *in_powers(
                chebyshev(lambda x: (growth(x) - 1) / x, choice.rate_switch, choice.growth_degree - 1),
                choice.rate_switch,
            ),
        ),
        "zeta": tuple(chebyshev(zeta_series, choice.rate_switch, choice.zeta_degree)),
        "ein": tuple(chebyshev(lambda z: ein(z) / z, choice.exponent_switch, choice.ein_degree)),
        "e1_numerator": tuple(p),
        "e1_denominator": tuple(q),
        "log1p": tuple(chebyshev(log1p_ratio, 1.0, choice.log1p_degree)),
        "tail": tuple(tuple(mp.mpf(c.numerator) / c.denominator for c in row) for row in tail_rows(choice.tail_degree)),
    }


# --- the file ----------------------------------------------------------------------------------------------

FIELDS = {
    "rate_switch": "lam at and above which the direct sum serves every number of epochs",
    "exponent_switch": "z = lam k that separates the two forms of the exponential integral",
    "log_steps": "log(1 + 1/m), m = 1, 2, ...: the direct sum",
    "growth": "A(lam) = (e^lam - 1)/lam, ascending powers of lam",
    "zeta": "R(lam), ascending powers of 2 lam/rate_switch - 1",
    "ein": "Ein(z)/z, ascending powers of 2 z/exponent_switch - 1",
    "e1_numerator": "z e^z E1(z), ascending powers of z",
    "e1_denominator": "z e^z E1(z), ascending powers of z",
    "log1p": "log(1 + x)/x for 0 <= x <= 1, ascending powers of 2 x - 1",
    "tail": "row i: lam^i times v, v^3, ... (odd i) or v^2, v^4, ..., v = 1/k",
}


def literal(value: object, indent: int) -> str:
    pad = " " * indent
    if isinstance(value, tuple):
        if len(value) == 1:
            return f"({literal(value[0], indent)},)"
        inner = "".join(f"{pad}    {literal(v, indent + 4)},\n" for v in value)
        return f"(\n{inner}{pad})"
    return repr(float(value))


def render(tables: dict[str, dict[str, object]]) -> str:
    lines = [
        '"""Coefficients of `closed_form.py`.',
        "",
        "Generated by `python benchmarks/closed_form/derive.py`; do not edit.",
        '"""',
        "",
        "from typing import NamedTuple",
        "",
        "",
        "class Coefficients(NamedTuple):",
        '    """Switch points and coefficients of one dtype, derived in benchmarks/closed_form/derive.py."""',
        "",
    ]
    for name, meaning in FIELDS.items():
        kind = {"tail": "tuple[tuple[float, ...], ...]"}.get(name, "tuple[float, ...]")
        lines.append(f"    {name}: {'float' if name.endswith('_switch') else kind}  # {meaning}")
    lines.append("")
    for dtype, table in tables.items():
        lines += ["", f"{dtype} = Coefficients("]
        lines += [f"    {name}={literal(table[name], 4)}," for name in FIELDS]
        lines.append(")")
    return "\n".join(lines) + "\n"


def flatten(value: object) -> list[float]:
    if isinstance(value, tuple):
        return [x for v in value for x in flatten(v)]
    return [float(value)]


def load(path: Path) -> object:
    spec = importlib.util.spec_from_file_location("closed_form_coefficients", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(tables: dict[str, dict[str, object]]) -> list[str]:
    """What differs between the committed file and the derived tables; empty when they agree."""
    committed, problems = load(TARGET), []
    for dtype, table in tables.items():
        for name in FIELDS:
            old, new = flatten(getattr(getattr(committed, dtype), name)), flatten(table[name])
            if len(old) != len(new):
                problems.append(f"{dtype}.{name}: {len(old)} committed, {len(new)} derived")
            elif any(abs(a - b) > CHECK_RELATIVE * abs(b) for a, b in zip(old, new, strict=True)):
                problems.append(f"{dtype}.{name}: differs")
    return problems


# --- errors ------------------------------------------------------------------------------------------------

REFERENCE_TERMS, REFERENCE_DEGREE = 64, 40  # the same identity, long enough for about 35 digits


class Reference:
    """H and Q1 to about 35 digits: a direct sum to 64 epochs, then the expansion at degree 40."""

    def __init__(self) -> None:
        self.series = [
            (i, j, mp.mpf(c.numerator) / c.denominator) for (i, j), c in tail_series(REFERENCE_DEGREE).items()
        ]
        self.steps = [mp.log1p(mp.mpf(1) / m) for m in range(1, REFERENCE_TERMS)]

    def tail(self, k: mp.mpf, lam: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
        """The sum over m >= k but for the part A E1, and minus its derivative in lam."""
        scale = mp.exp(lam / 2 - lam * k)
        degrees = range(REFERENCE_DEGREE + 1)
        lams, vs = [lam**i for i in degrees], [k**-j for j in degrees]
        value = mp.fsum(c * lams[i] * vs[j] for i, j, c in self.series)
        slope = mp.fsum(i * c * lams[i - 1] * vs[j] for i, j, c in self.series)
        return scale * value, -scale * (slope + (mp.mpf(1) / 2 - k) * value)

    def __call__(self, epochs: float, log_ratio: float, rate: float) -> tuple[mp.mpf, mp.mpf]:
        """H and Q1."""
        k, r, lam = int(epochs), mp.mpf(log_ratio), mp.mpf(rate)
        delta, power, value, slope = mp.exp(-lam), mp.mpf(1), mp.mpf(0), mp.mpf(0)
        for m in range(1, min(k, REFERENCE_TERMS)):
            power *= delta
            value += power * self.steps[m - 1]
            slope += m * power * self.steps[m - 1]
        # e^(-64 * 2.4) = 2e-67: above that rate the terms left out are below the precision
        if k > REFERENCE_TERMS and rate <= CHOICES["FLOAT64"].rate_switch:
            n = mp.mpf(REFERENCE_TERMS)
            a = mp.expm1(lam) / lam
            a_slope = (mp.exp(lam) - a) / lam
            between = mp.log(k / n) - ein(lam * k) + ein(lam * n)
            (t_n, s_n), (t_k, s_k) = self.tail(n, lam), self.tail(mp.mpf(k), lam)
            value += a * between + t_n - t_k
            slope += -a_slope * between + a * (mp.exp(-lam * n) - mp.exp(-lam * k)) / lam + s_n - s_k
        last = mp.exp(-lam * k) * r
        return value + last, lam * (slope + k * last)


def measure() -> None:
    """Largest errors of the JAX kernel over a grid that holds every switch point and both of its sides."""
    sys.path.insert(0, str(ROOT))
    import jax

    from qqtjax.laws import closed_form

    mp.mp.dps = DIGITS + 20  # a_slope above cancels lam^-1 digits: 14 of them at lam = 1e-14
    reference = Reference()
    rng = np.random.default_rng(0)
    epochs = np.array([*range(1, 30), 40, 63, 100, 317, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9])
    for name, dtype in (("FLOAT64", np.float64), ("FLOAT32", np.float32)):
        table = load(TARGET).__dict__[name]
        edge = np.asarray(table.rate_switch, dtype)
        rates = [10.0**e for e in range(-14, 2)] + [0.03, 0.3, 0.6, 1.2, 2.0, 3.0, 5.0, 30.0]
        rates = np.array([*rates, edge, np.nextafter(edge, dtype(0)), np.nextafter(edge, dtype(9))], dtype)
        k, lam = (x.ravel() for x in np.meshgrid(epochs.astype(dtype), rates))
        near = np.repeat(epochs, 2).astype(dtype)  # both sides of z = exponent_switch
        side = np.tile([1 - 1e-6, 1 + 1e-6], len(epochs))
        k, lam = np.append(k, near), np.append(lam, (table.exponent_switch * side / near).astype(dtype))
        r = (rng.uniform(size=k.shape) * np.log1p(1 / k)).astype(dtype)
        exact = [reference(*x) for x in zip(k.astype(float), r.astype(float), lam.astype(float), strict=True)]
        with jax.enable_x64(True):
            rows = {"rounded": closed_form.value_and_slopes(k, r, lam)}
            if dtype == np.float32:  # the same coefficients in float64 arithmetic: approximation alone
                wide = [x.astype(np.float64) for x in (k, r, lam)]
                h, power, slope = closed_form._evaluate(table, *wide)
                rows["approximation"] = (h, power, wide[2] * slope)
        for row, (h, _, q1) in rows.items():
            errors_h = [abs(mp.mpf(float(a)) - e[0]) for a, e in zip(h, exact, strict=True)]
            errors_q = [abs(mp.mpf(float(a)) - e[1]) for a, e in zip(q1, exact, strict=True)]
            n_h, n_q = int(np.argmax(errors_h)), int(np.argmax(errors_q))
            worst = ", ".join(
                f"max |{what} error| {float(errors[n]):.1e} at k={k[n]:g} lam={lam[n]:.6g}"
                for what, errors, n in (("H", errors_h, n_h), ("Q1", errors_q, n_q))
            )
            print(f"{name} {row}: {len(k)} points, {worst}")


def report_pieces(name: str, choice: Choice, table: dict[str, object]) -> None:
    """Print the largest error of each approximation, as it enters H, in exact arithmetic."""
    edge, cut, terms = choice.rate_switch, choice.exponent_switch, choice.direct_terms
    grid = [mp.mpf(i) / 101 for i in range(102)]
    lams, zs = [edge * (x or mp.mpf("1e-9")) for x in grid], [cut * (x or mp.mpf("1e-9")) for x in grid]
    exact = {(i, j): mp.mpf(c.numerator) / c.denominator for (i, j), c in tail_series(REFERENCE_DEGREE).items()}
    first = mp.mpf(1) / (terms + 2)  # the largest v at which P is used
    dropped = [
        abs(
            mp.exp(x / 2 - x / first)
            * mp.fsum(c * x**i * first**j for (i, j), c in exact.items() if i + j > choice.tail_degree)
        )
        for x in lams
    ]
    pieces = {
        "R": max(mp.expm1(x) * abs(polynomial(table["zeta"], 2 * x / edge - 1) - zeta_series(x)) for x in lams),
        "Ein": max(abs(z * polynomial(table["ein"], 2 * z / cut - 1) - ein(z)) for z in zs),
        "E1": max(
            abs(
                mp.exp(-z) / z * polynomial(table["e1_numerator"], z) / polynomial(table["e1_denominator"], z)
                - mp.e1(z)
            )
            for z in (cut + 30 * x**2 for x in grid)
        ),
        "A": max(abs(polynomial(table["growth"], x) - growth(x)) for x in lams),
        "P": max(dropped),
        "log1p": max(abs(x * polynomial(table["log1p"], 2 * x - 1) - mp.log1p(x)) for x in grid),
        "direct sum": mp.exp(-edge * (terms + 1)) / (terms + 1) / -mp.expm1(-edge),
    }
    listed = ", ".join(f"{piece} {float(error):.1e}" for piece, error in pieces.items())
    print(f"{name}, each piece as it enters H: {listed}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Derive the coefficients of qqtjax.laws.closed_form.")
    parser.add_argument("--check", action="store_true", help="compare with the committed file, write nothing")
    arguments = parser.parse_args()
    mp.mp.dps = DIGITS
    tables = {name: derive(choice) for name, choice in CHOICES.items()}
    for name, choice in CHOICES.items():
        report_pieces(name, choice, tables[name])
    if arguments.check:
        problems = check(tables)
        print("\n".join(problems) or f"{TARGET.relative_to(ROOT)} holds what this script derives")
        if problems:
            raise SystemExit(1)
    else:
        TARGET.write_text(render(tables))
        print(f"wrote {TARGET.relative_to(ROOT)}")
    measure()


if __name__ == "__main__":
    main()
