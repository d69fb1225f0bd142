"""The best weights over pools: under constraints, with a proof, their prices, and their order in time."""

from qqtjax.mix.allocation import whole_samples as whole_samples
from qqtjax.mix.best_first import BestFirst as BestFirst
from qqtjax.mix.best_first import best_first as best_first
from qqtjax.mix.certify import certify as certify
from qqtjax.mix.constraints import Constraints as Constraints
from qqtjax.mix.constraints import Group as Group
from qqtjax.mix.entry import entry_budgets as entry_budgets
from qqtjax.mix.optimize import optimize_mix as optimize_mix
from qqtjax.mix.optimum import best_error as best_error
from qqtjax.mix.optimum import best_weights as best_weights
from qqtjax.mix.prices import NewPool as NewPool
from qqtjax.mix.prices import Prices as Prices
from qqtjax.mix.prices import break_even as break_even
from qqtjax.mix.prices import shadow_prices as shadow_prices
from qqtjax.mix.prices import worth_of_new_pool as worth_of_new_pool
from qqtjax.mix.result import Certificate as Certificate
from qqtjax.mix.result import Mix as Mix
from qqtjax.mix.result import Mixes as Mixes
from qqtjax.mix.result import RunnerUp as RunnerUp
from qqtjax.mix.schedule import Schedule as Schedule
from qqtjax.mix.schedule import predict_schedule as predict_schedule
from qqtjax.mix.schedule import schedule_error as schedule_error
from qqtjax.mix.schedules import ScheduledMix as ScheduledMix
from qqtjax.mix.schedules import optimize_schedule as optimize_schedule
