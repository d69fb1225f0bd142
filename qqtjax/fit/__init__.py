"""Fitting laws to measured runs."""

from qqtjax.fit.fitting import fit as fit
from qqtjax.fit.fitting import fit_metrics as fit_metrics
from qqtjax.fit.many import Fits as Fits
from qqtjax.fit.many import fit_laws as fit_laws
from qqtjax.fit.many import fit_many as fit_many
from qqtjax.fit.model import Model as Model
from qqtjax.fit.solvers import LBFGS as LBFGS
from qqtjax.fit.solvers import Adam as Adam
from qqtjax.fit.solvers import LevenbergMarquardt as LevenbergMarquardt
