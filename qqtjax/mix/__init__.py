"""The best weights over pools: under constraints, with a proof, their prices, and their order in time."""

from qqtjax.mix.allocation import whole_samples as whole_samples
from qqtjax.mix.constraints import Constraints as Constraints
from qqtjax.mix.constraints import Group as Group
from qqtjax.mix.optimize import optimize_mix as optimize_mix
from qqtjax.mix.result import Certificate as Certificate
from qqtjax.mix.result import Mix as Mix
from qqtjax.mix.result import Mixes as Mixes
from qqtjax.mix.result import RunnerUp as RunnerUp
from qqtjax.mix.schedule import Schedule as Schedule
from qqtjax.mix.schedules import ScheduledMix as ScheduledMix
from qqtjax.mix.schedules import optimize_schedule as optimize_schedule
