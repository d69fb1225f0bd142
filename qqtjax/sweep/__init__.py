"""Millions of configurations: predicted or optimised, in blocks, on all devices and hosts, resumable."""

from qqtjax.sweep.reduce import Quantiles as Quantiles
from qqtjax.sweep.reduce import TopK as TopK
from qqtjax.sweep.result import Sweep as Sweep
from qqtjax.sweep.result import load_sweep as load_sweep
from qqtjax.sweep.simplex import Simplex as Simplex
from qqtjax.sweep.sweeping import sweep as sweep
