"""The best weights for a fitted law: continuous mixes on the simplex, and whole samples of each pool."""

from qqtjax.mix.allocation import whole_samples as whole_samples
from qqtjax.mix.simplex import Mixes as Mixes
from qqtjax.mix.simplex import optimize_mixes as optimize_mixes
