"""The results printed in the paper; tests and tables read them from here.

Jaegle et al., "Perceiver: General Perception with Iterative Attention", ICML 2021. Rows have their
printed names; accuracies and mean average precision (mAP) are in %.
"""

from typing import NamedTuple


class PrintedCost(NamedTuple):
    """A row of Tables 5 to 7: top-1 on ImageNet in %, printed forward FLOPs and parameters."""

    top1: float | None
    flops: str
    parameters: str


class PrintedPermutation(NamedTuple):
    """A row of Table 2: top-1 on permuted ImageNet in %, input receptive field in pixels.

    The accuracy on raw ImageNet is in `IMAGENET`, or is `LEARNED_POSITIONS_RAW`.
    """

    permuted: float
    receptive_field: int


# The network of Tables 1, 2, 6 and 7.
_PERCEIVER_TOP1 = 78.0
_PERCEIVER = PrintedCost(_PERCEIVER_TOP1, "707.2B", "44.9M")

# Table 1: top-1 on ImageNet, first the authors' figures from the literature, then the networks that
# they trained. FF stands for Fourier features.
IMAGENET_LITERATURE = {"ResNet-50": 77.6, "ViT-B-16": 77.9}
IMAGENET = {
    "ResNet-50 (FF)": 73.5,
    "ViT-B-16 (FF)": 76.7,
    "Transformer (64x64, FF)": 57.0,
    "Perceiver (FF)": _PERCEIVER_TOP1,
}

# Table 2. A network that only attends globally does not depend on the order of its inputs: its
# printed accuracies on raw and permuted images are equal.
LEARNED_POSITIONS = "Perceiver (Learned pos.)"
LEARNED_POSITIONS_RAW = 70.9
PERMUTED = {
    "ResNet-50 (FF)": PrintedPermutation(39.4, 49),
    "ViT-B-16 (FF)": PrintedPermutation(61.7, 256),
    "Transformer (64x64, FF)": PrintedPermutation(IMAGENET["Transformer (64x64, FF)"], 4096),
    "Perceiver (FF)": PrintedPermutation(_PERCEIVER_TOP1, 50_176),
    LEARNED_POSITIONS: PrintedPermutation(LEARNED_POSITIONS_RAW, 50_176),
}

# Table 3: mAP on AudioSet by input. The text prints 38.4 for raw audio.
AUDIOSET = {
    "raw audio": 38.3,
    "mel spectrogram": 38.4,
    "video": 25.8,
    "raw audio + video": 43.5,
    "mel spectrogram + video": 43.2,
    "mel spectrogram - tuned + video": 44.2,
}

# Text of Sec. 4.2: mAP on AudioSet without video dropout.
WITHOUT_VIDEO_DROPOUT = {"raw audio + video": 39.7, "mel spectrogram + video": 39.9}

# Table 4: the best top-1 on ModelNet40's test set.
MODELNET40 = {
    "ResNet-50 (FF)": 66.3,
    "ViT-B-2 (FF)": 78.9,
    "ViT-B-4 (FF)": 73.4,
    "ViT-B-8 (FF)": 65.3,
    "ViT-B-16 (FF)": 59.6,
    "Transformer (44x44)": 82.1,
    "Perceiver": 85.7,
}

# Table 5: unshared cross-attends without towers, by their number. 12 ran out of memory.
CROSS_ATTENDS_ALONE = {
    4: PrintedCost(39.4, "173.1B", "12.7M"),
    8: PrintedCost(45.3, "346.1B", "23.8M"),
    12: PrintedCost(None, "519.2B", "34.9M"),
}

# Table 6: by the number of cross-attends, and True if all are at the start. The printed 41.1M of
# the first row must be an error: its FLOPs and the row below it correspond to 42.1M.
CROSS_ATTENDS = {
    (1, True): PrintedCost(76.7, "404.3B", "41.1M"),
    (1, False): PrintedCost(76.7, "404.3B", "42.1M"),
    (2, True): PrintedCost(76.7, "447.6B", "44.9M"),
    (2, False): PrintedCost(76.5, "447.6B", "44.9M"),
    (4, True): PrintedCost(75.9, "534.1B", "44.9M"),
    (4, False): PrintedCost(76.5, "534.1B", "44.9M"),
    (8, True): PrintedCost(73.7, "707.2B", "44.9M"),
    (8, False): _PERCEIVER,
}

# Table 7: top-1 on validation and training images, by whether weights are shared.
SHARING = {False: PrintedCost(72.9, "707.2B", "326.2M"), True: _PERCEIVER}
SHARING_TRAINING = {False: 87.7, True: 79.5}
