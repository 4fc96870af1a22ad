"""The classes of ModelNet40 and ModelNet10 in the order of their labels, and how many there are."""

import dataclasses

MODELNET40 = (
    "airplane",
    "bathtub",
    "bed",
    "bench",
    "bookshelf",
    "bottle",
    "bowl",
    "car",
    "chair",
    "cone",
    "cup",
    "curtain",
    "desk",
    "door",
    "dresser",
    "flower_pot",
    "glass_box",
    "guitar",
    "keyboard",
    "lamp",
    "laptop",
    "mantel",
    "monitor",
    "night_stand",
    "person",
    "piano",
    "plant",
    "radio",
    "range_hood",
    "sink",
    "sofa",
    "stairs",
    "stool",
    "table",
    "tent",
    "toilet",
    "tv_stand",
    "vase",
    "wardrobe",
    "xbox",
)
MODELNET10 = (
    "bathtub",
    "bed",
    "chair",
    "desk",
    "dresser",
    "monitor",
    "night_stand",
    "sofa",
    "table",
    "toilet",
)


@dataclasses.dataclass(frozen=True)
class Official:
    """What a data set has by its publishers' lists.

    Attributes:
      name: of the data set.
      class_names: by label.
      counts: split -> how many shapes.
    """

    name: str
    class_names: tuple[str, ...]
    counts: dict[str, int]


OFFICIAL = {
    40: Official("ModelNet40", MODELNET40, {"train": 9843, "test": 2468}),
    10: Official("ModelNet10", MODELNET10, {"train": 3991, "test": 908}),
}
