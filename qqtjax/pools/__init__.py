"""From scores, embeddings or a model to pools, and from target counts to the samples to keep.

    scores, embeddings  ->  `Partition`  ->  counts by a rule  ->  exact projection and rounding  ->  `draw`

Every way of pruning is a rule for how many samples to keep of each pool.

Example:
    >>> import numpy as np
    >>> from qqtjax.pools import PAPER, dbp
    >>> rows = np.random.default_rng(0).normal(size=(300, 8)) + np.repeat(4 * np.eye(8)[:3], 100, axis=0)
    >>> kept = dbp(rows, PAPER._replace(clusters=3, neighbours=2, keep=0.277)).selection
    >>> len(kept), len(kept.partition)
    (83, 300)
"""

from qqtjax.pools.assignment import Assignment as Assignment
from qqtjax.pools.assignment import assign as assign
from qqtjax.pools.complexity import complexity as complexity
from qqtjax.pools.complexity import inter_distance as inter_distance
from qqtjax.pools.complexity import intra_distance as intra_distance
from qqtjax.pools.covariates import Regression as Regression
from qqtjax.pools.covariates import regress as regress
from qqtjax.pools.covariates import regress_law as regress_law
from qqtjax.pools.dbp import Pruned as Pruned
from qqtjax.pools.dbp import dbp as dbp
from qqtjax.pools.density import PAPER as PAPER
from qqtjax.pools.density import RELEASED as RELEASED
from qqtjax.pools.density import DensitySettings as DensitySettings
from qqtjax.pools.density import density_counts as density_counts
from qqtjax.pools.density import density_keep as density_keep
from qqtjax.pools.dlc import DLC as DLC
from qqtjax.pools.dlc import mean_masked_loss as mean_masked_loss
from qqtjax.pools.dlc_classes import dlc_scores as dlc_scores
from qqtjax.pools.dlc_text import dlc_response_scores as dlc_response_scores
from qqtjax.pools.drawing import Selection as Selection
from qqtjax.pools.drawing import draw as draw
from qqtjax.pools.el2n import el2n as el2n
from qqtjax.pools.el2n import grand as grand
from qqtjax.pools.embeddings import Embeddings as Embeddings
from qqtjax.pools.flexrand import flexrand as flexrand
from qqtjax.pools.flexrand import flexrand_counts as flexrand_counts
from qqtjax.pools.forgetting import forgetting as forgetting
from qqtjax.pools.forgetting import trained_complexity as trained_complexity
from qqtjax.pools.functional import functional as functional
from qqtjax.pools.herding import herding as herding
from qqtjax.pools.k_center import k_center as k_center
from qqtjax.pools.kmeans import Clusters as Clusters
from qqtjax.pools.kmeans import kmeans as kmeans
from qqtjax.pools.masks import Geometric as Geometric
from qqtjax.pools.masks import Linear as Linear
from qqtjax.pools.moderate import moderate as moderate
from qqtjax.pools.partition import Partition as Partition
from qqtjax.pools.planned import planned_counts as planned_counts
from qqtjax.pools.planned import select_planned as select_planned
from qqtjax.pools.projection import project as project
from qqtjax.pools.quantiles import quantile_pools as quantile_pools
from qqtjax.pools.rounding import round_exact as round_exact
from qqtjax.pools.semdedup import Deduplicated as Deduplicated
from qqtjax.pools.semdedup import semdedup as semdedup
from qqtjax.pools.thresholds import above_counts as above_counts
from qqtjax.pools.thresholds import top_counts as top_counts
from qqtjax.pools.tune import Tuned as Tuned
from qqtjax.pools.tune import kept_error as kept_error
from qqtjax.pools.tune import tune_density as tune_density
from qqtjax.pools.uniform import uniform_counts as uniform_counts
