"""From draws of the parameters to the decision: what is best, how surely, and what a mistake would cost."""

from qqtjax.decide.crossing import CrossoverSet as CrossoverSet
from qqtjax.decide.crossing import crossover_set as crossover_set
from qqtjax.decide.near_best import NearBest as NearBest
from qqtjax.decide.near_best import near_best as near_best
from qqtjax.decide.pairs import Pairs as Pairs
from qqtjax.decide.pairs import measured_pairs as measured_pairs
from qqtjax.decide.predictions import Prediction as Prediction
from qqtjax.decide.predictions import predict_interval as predict_interval
from qqtjax.decide.probabilities import Decision as Decision
from qqtjax.decide.probabilities import decide as decide
from qqtjax.decide.probabilities import probability_below as probability_below
from qqtjax.decide.probabilities import probability_unbeaten as probability_unbeaten
from qqtjax.decide.reliability import Reliability as Reliability
from qqtjax.decide.reliability import reliability as reliability
from qqtjax.decide.sensitivity import Sensitivity as Sensitivity
from qqtjax.decide.sensitivity import drop_early as drop_early
from qqtjax.decide.sensitivity import over_dilution as over_dilution
