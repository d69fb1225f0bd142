"""The laws: one file each, every one a record that is called like a function."""

import importlib
import pkgutil

from qqtjax.laws.autoscale import AutoScaleParams as AutoScaleParams
from qqtjax.laws.autoscale import autoscale as autoscale
from qqtjax.laws.bimix import BiMixParams as BiMixParams
from qqtjax.laws.bimix import bimix as bimix
from qqtjax.laws.chinchilla import ChinchillaParams as ChinchillaParams
from qqtjax.laws.chinchilla import chinchilla as chinchilla
from qqtjax.laws.complementary import ComplementaryParams as ComplementaryParams
from qqtjax.laws.complementary import complementary as complementary
from qqtjax.laws.data_constrained import DataConstrainedParams as DataConstrainedParams
from qqtjax.laws.data_constrained import data_constrained as data_constrained
from qqtjax.laws.data_mixing import DataMixingParams as DataMixingParams
from qqtjax.laws.data_mixing import data_mixing as data_mixing
from qqtjax.laws.effective_data import effective_data as effective_data
from qqtjax.laws.effective_samples import EffectiveSamplesParams as EffectiveSamplesParams
from qqtjax.laws.effective_samples import effective_samples as effective_samples
from qqtjax.laws.fitted import Diagnostics as Diagnostics
from qqtjax.laws.fitted import FittedLaw as FittedLaw
from qqtjax.laws.fitted import Seen as Seen
from qqtjax.laws.infolaw import InfoLawParams as InfoLawParams
from qqtjax.laws.infolaw import infolaw as infolaw
from qqtjax.laws.law import Law as Law
from qqtjax.laws.law import Range as Range
from qqtjax.laws.log_linear import LogLinearParams as LogLinearParams
from qqtjax.laws.log_linear import log_linear as log_linear
from qqtjax.laws.optimal_additive import OptimalAdditiveParams as OptimalAdditiveParams
from qqtjax.laws.optimal_additive import optimal_additive as optimal_additive
from qqtjax.laws.optimal_joint import OptimalJointParams as OptimalJointParams
from qqtjax.laws.optimal_joint import optimal_joint as optimal_joint
from qqtjax.laws.overfit_penalty import OverfitPenaltyParams as OverfitPenaltyParams
from qqtjax.laws.overfit_penalty import overfit_penalty as overfit_penalty
from qqtjax.laws.power import PowerParams as PowerParams
from qqtjax.laws.power import power as power
from qqtjax.laws.released_utility import released_utility as released_utility
from qqtjax.laws.repetition_aware import RepetitionAwareParams as RepetitionAwareParams
from qqtjax.laws.repetition_aware import repetition_aware as repetition_aware
from qqtjax.laws.utility import UtilityParams as UtilityParams
from qqtjax.laws.utility import utility as utility
from qqtjax.laws.utility_capacity import UtilityCapacityParams as UtilityCapacityParams
from qqtjax.laws.utility_capacity import utility_capacity as utility_capacity
from qqtjax.laws.weibull_benefit import WeibullBenefitParams as WeibullBenefitParams
from qqtjax.laws.weibull_benefit import weibull_benefit as weibull_benefit


def _found() -> tuple[Law, ...]:
    """Every law that a file of this folder names, so that a new one is added by its file alone."""
    files = sorted(each.name for each in pkgutil.iter_modules(__path__))
    named = (value for file in files for value in vars(importlib.import_module(f"{__name__}.{file}")).values())
    return tuple({law.name: law for law in named if isinstance(law, Law)}.values())


ALL = _found()
