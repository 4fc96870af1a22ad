"""Figures printed in the paper, each once; tests and tables share them.

Jaegle et al., "Perceiver: General Perception with Iterative Attention", ICML 2021.
"""

from typing import NamedTuple


class PrintedCost(NamedTuple):
    """A row of Tables 5 to 7: top-1 on ImageNet in %, forward FLOPs and parameters as printed."""

    top1: float | None
    flops: str
    parameters: str


# Table 5: cross-attends alone, nothing shared, by their number. 12 ran out of memory.
CROSS_ATTENDS_ALONE = {
    4: PrintedCost(39.4, "173.1B", "12.7M"),
    8: PrintedCost(45.3, "346.1B", "23.8M"),
    12: PrintedCost(None, "519.2B", "34.9M"),
}

# Table 6: by the number of cross-attends and whether all are at the start. The first row's 41.1M
# fits no reading of the network; its FLOPs and the row below it say 42.1M.
CROSS_ATTENDS = {
    (1, True): PrintedCost(76.7, "404.3B", "41.1M"),
    (1, False): PrintedCost(76.7, "404.3B", "42.1M"),
    (2, True): PrintedCost(76.7, "447.6B", "44.9M"),
    (2, False): PrintedCost(76.5, "447.6B", "44.9M"),
    (4, True): PrintedCost(75.9, "534.1B", "44.9M"),
    (4, False): PrintedCost(76.5, "534.1B", "44.9M"),
    (8, True): PrintedCost(73.7, "707.2B", "44.9M"),
    (8, False): PrintedCost(78.0, "707.2B", "44.9M"),
}

# Table 7: by whether weights are shared.
SHARING = {
    False: PrintedCost(72.9, "707.2B", "326.2M"),
    True: PrintedCost(78.0, "707.2B", "44.9M"),
}
