"""The bake-off: laws against each other on runs that they were not fitted on."""

from qqtjax.bakeoff.bakeoff import bakeoff as bakeoff
from qqtjax.bakeoff.contestants import Baseline as Baseline
from qqtjax.bakeoff.contestants import Contestant as Contestant
from qqtjax.bakeoff.contestants import default_contestants as default_contestants
from qqtjax.bakeoff.ensemble import ensemble as ensemble
from qqtjax.bakeoff.result import Bakeoff as Bakeoff
from qqtjax.bakeoff.result import load_bakeoff as load_bakeoff
from qqtjax.bakeoff.splits import parse_split as parse_split
from qqtjax.bakeoff.stacking import stack as stack
