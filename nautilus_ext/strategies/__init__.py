"""Three small strategies to copy: they run unchanged in a backtest, on paper and live.

TrendFollower    enters on a crossing of two averages, with a stop and a target; adds to what runs, if told to
TwoSidedQuoter   quotes both sides of an instrument within an inventory limit
Rebalancer       keeps a spot portfolio at its weights
"""

from nautilus_ext.strategies.rebalancer import Rebalancer, RebalancerConfig
from nautilus_ext.strategies.trend_follower import TrendFollower, TrendFollowerConfig
from nautilus_ext.strategies.two_sided_quoter import TwoSidedQuoter, TwoSidedQuoterConfig

__all__ = [
    "Rebalancer",
    "RebalancerConfig",
    "TrendFollower",
    "TrendFollowerConfig",
    "TwoSidedQuoter",
    "TwoSidedQuoterConfig",
]
