"""From scores, embeddings or a model to pools, and from target counts to the samples to keep.

    scores, embeddings  ->  `Partition`  ->  counts by a rule  ->  exact projection and rounding  ->  `draw`

Every way of pruning is a rule for how many samples to keep of each pool.
"""
