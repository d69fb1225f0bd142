"""qqtjax: which data should I train on for my compute budget, and how sure am I?

    measured runs  ->  fitted law  ->  plan: the best filter and the best mix at each budget

Example:
    >>> import qqtjax as qqt
    >>> runs = qqt.wordclip("C")
    >>> fitted = qqt.fit(runs.select(runs.single))
    >>> plan = qqt.plan(fitted, budgets=[20e3, 80e3, 320e3], runs=runs)
    >>> mix = qqt.optimize_mix(fitted, budget=80e3, max_epochs=6)
"""

from qqtjax import laws as laws
from qqtjax import mix as mix
from qqtjax import plot as plot
from qqtjax.bakeoff import Bakeoff as Bakeoff
from qqtjax.bakeoff import Baseline as Baseline
from qqtjax.bakeoff import Contestant as Contestant
from qqtjax.bakeoff import bakeoff as bakeoff
from qqtjax.bakeoff import ensemble as ensemble
from qqtjax.bakeoff import load_bakeoff as load_bakeoff
from qqtjax.cache import enable_compile_cache as enable_compile_cache
from qqtjax.decide import crossover_set as crossover_set
from qqtjax.decide import decide as decide
from qqtjax.decide import near_best as near_best
from qqtjax.errors import InputError as InputError
from qqtjax.errors import MaxEpochsError as MaxEpochsError
from qqtjax.errors import MissingExtraError as MissingExtraError
from qqtjax.errors import QQTError as QQTError
from qqtjax.errors import QQTWarning as QQTWarning
from qqtjax.fit import LBFGS as LBFGS
from qqtjax.fit import Adam as Adam
from qqtjax.fit import LevenbergMarquardt as LevenbergMarquardt
from qqtjax.fit import fit as fit
from qqtjax.fit import fit_metrics as fit_metrics
from qqtjax.fit.bootstrap import ResidualBootstrap as ResidualBootstrap
from qqtjax.fit.bootstrap import RunBootstrap as RunBootstrap
from qqtjax.fit.bootstrap import WildBootstrap as WildBootstrap
from qqtjax.fit.clusters import Unit as Unit
from qqtjax.fit.covariance import covariance as covariance
from qqtjax.fit.drawing import Posterior as Posterior
from qqtjax.fit.drawing import StudentT as StudentT
from qqtjax.fit.drawing import draw as draw
from qqtjax.fit.many import Fits as Fits
from qqtjax.fit.many import fit_laws as fit_laws
from qqtjax.fit.many import fit_many as fit_many
from qqtjax.fit.model import Model as Model
from qqtjax.fit.pooled_problem import Pooling as Pooling
from qqtjax.fit.pooling import fit_pooled as fit_pooled
from qqtjax.fit.profile import Profile as Profile
from qqtjax.fit.profile import profile as profile
from qqtjax.io.read import read_runs as read_runs
from qqtjax.io.saved import load_fit as load_fit
from qqtjax.io.saved import save_fit as save_fit
from qqtjax.io.saved_draws import load_draws as load_draws
from qqtjax.io.saved_draws import save_draws as save_draws
from qqtjax.io.tables import published as published
from qqtjax.io.tables import wordclip as wordclip
from qqtjax.laws import FittedLaw as FittedLaw
from qqtjax.laws.draws import Draws as Draws
from qqtjax.laws.draws import draw_params as draw_params
from qqtjax.laws.intervals import parameter_intervals as parameter_intervals
from qqtjax.mix import CVaR as CVaR
from qqtjax.mix import Mean as Mean
from qqtjax.mix import Mix as Mix
from qqtjax.mix import Mixes as Mixes
from qqtjax.mix import Worst as Worst
from qqtjax.mix import export_mix as export_mix
from qqtjax.mix import optimize_mix as optimize_mix
from qqtjax.mix import optimize_schedule as optimize_schedule
from qqtjax.mix import robust_mix as robust_mix
from qqtjax.plan import Plan as Plan
from qqtjax.plan import mixture_evidence as mixture_evidence
from qqtjax.plan import plan as plan
from qqtjax.report import report as report
from qqtjax.runs import Pools as Pools
from qqtjax.runs import Run as Run
from qqtjax.runs import Runs as Runs
from qqtjax.sweep import Quantiles as Quantiles
from qqtjax.sweep import Simplex as Simplex
from qqtjax.sweep import Sweep as Sweep
from qqtjax.sweep import TopK as TopK
from qqtjax.sweep import load_sweep as load_sweep
from qqtjax.sweep import sweep as sweep

__version__ = "0.1.0"
