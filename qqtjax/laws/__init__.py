"""The laws: one file each, every one a record that is called like a function."""

from qqtjax.laws.effective_data import effective_data as effective_data
from qqtjax.laws.effective_samples import EffectiveSamplesParams as EffectiveSamplesParams
from qqtjax.laws.effective_samples import effective_samples as effective_samples
from qqtjax.laws.fitted import Diagnostics as Diagnostics
from qqtjax.laws.fitted import FittedLaw as FittedLaw
from qqtjax.laws.fitted import Seen as Seen
from qqtjax.laws.law import Law as Law
from qqtjax.laws.law import Range as Range
from qqtjax.laws.power import PowerParams as PowerParams
from qqtjax.laws.power import power as power
from qqtjax.laws.released_utility import released_utility as released_utility
from qqtjax.laws.utility import UtilityParams as UtilityParams
from qqtjax.laws.utility import utility as utility

ALL = (utility, effective_data, effective_samples, released_utility, power)
