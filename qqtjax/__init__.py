"""qqtjax: which data should I train on for my compute budget, and how sure am I?

    measured runs  ->  fitted law  ->  plan: the best filter and the best mix at each budget

Example:
    >>> import qqtjax as qqt
    >>> runs = qqt.wordclip("C")
    >>> fitted = qqt.fit(runs.select(runs.single))
    >>> plan = qqt.plan(fitted, budgets=[20e3, 80e3, 320e3], runs=runs)
    >>> mix = qqt.optimize_mix(fitted, budget=80e3, max_epochs=6)
"""

from qqtjax import laws, mix, plot
from qqtjax.bakeoff import Bakeoff, Baseline, Contestant, bakeoff, ensemble, load_bakeoff
from qqtjax.cache import enable_compile_cache
from qqtjax.decide import crossover_set, decide, measured_pairs, near_best, reliability
from qqtjax.design import next_run
from qqtjax.errors import InputError, MaxEpochsError, MissingExtraError, QQTError, QQTWarning
from qqtjax.fit import LBFGS, Adam, LevenbergMarquardt, fit, fit_metrics
from qqtjax.fit.bootstrap import ResidualBootstrap, RunBootstrap, WildBootstrap
from qqtjax.fit.clusters import Unit
from qqtjax.fit.covariance import covariance
from qqtjax.fit.drawing import Posterior, StudentT, draw
from qqtjax.fit.many import Fits, fit_laws, fit_many
from qqtjax.fit.model import Model
from qqtjax.fit.pooled_problem import Pooling
from qqtjax.fit.pooling import fit_pooled
from qqtjax.fit.profile import Profile, profile
from qqtjax.io.read import read_runs
from qqtjax.io.saved import load_fit, save_fit
from qqtjax.io.saved_draws import load_draws, save_draws
from qqtjax.io.tables import published, wordclip
from qqtjax.laws import FittedLaw
from qqtjax.laws.draws import Draws, draw_params
from qqtjax.laws.intervals import parameter_intervals
from qqtjax.mix import CVaR, Mean, Mix, Mixes, Worst, export_mix, optimize_mix, optimize_schedule, robust_mix
from qqtjax.plan import Plan, mixture_evidence, plan
from qqtjax.report import report
from qqtjax.runs import Pools, Run, Runs
from qqtjax.sweep import Quantiles, Simplex, Sweep, TopK, load_sweep, sweep

__all__ = [
    "LBFGS",
    "Adam",
    "Bakeoff",
    "Baseline",
    "CVaR",
    "Contestant",
    "Draws",
    "Fits",
    "FittedLaw",
    "InputError",
    "LevenbergMarquardt",
    "MaxEpochsError",
    "Mean",
    "MissingExtraError",
    "Mix",
    "Mixes",
    "Model",
    "Plan",
    "Pooling",
    "Pools",
    "Posterior",
    "Profile",
    "QQTError",
    "QQTWarning",
    "Quantiles",
    "ResidualBootstrap",
    "Run",
    "RunBootstrap",
    "Runs",
    "Simplex",
    "StudentT",
    "Sweep",
    "TopK",
    "Unit",
    "WildBootstrap",
    "Worst",
    "bakeoff",
    "covariance",
    "crossover_set",
    "decide",
    "draw",
    "draw_params",
    "enable_compile_cache",
    "ensemble",
    "export_mix",
    "fit",
    "fit_laws",
    "fit_many",
    "fit_metrics",
    "fit_pooled",
    "laws",
    "load_bakeoff",
    "load_draws",
    "load_fit",
    "load_sweep",
    "measured_pairs",
    "mix",
    "mixture_evidence",
    "near_best",
    "next_run",
    "optimize_mix",
    "optimize_schedule",
    "parameter_intervals",
    "plan",
    "plot",
    "profile",
    "published",
    "read_runs",
    "reliability",
    "report",
    "robust_mix",
    "save_draws",
    "save_fit",
    "sweep",
    "wordclip",
]

__version__ = "0.1.0"
