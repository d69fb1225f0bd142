"""The main job: which data to train on at which budget."""

from qqtjax.plan.evidence import Evidence as Evidence
from qqtjax.plan.evidence import Score as Score
from qqtjax.plan.evidence import mixture_evidence as mixture_evidence
from qqtjax.plan.planning import plan as plan
from qqtjax.plan.result import Crossover as Crossover
from qqtjax.plan.result import FrontierStep as FrontierStep
from qqtjax.plan.result import Plan as Plan
from qqtjax.plan.result import PlanRow as PlanRow
from qqtjax.plan.result import Recipe as Recipe
from qqtjax.plan.result import Target as Target
from qqtjax.plan.result import Variant as Variant
