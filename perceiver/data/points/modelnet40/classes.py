"""The official class names and numbers of shapes of ModelNet40 and ModelNet10."""

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
    """A data set as its publishers' lists define it.

    Attributes:
      name: name of the data set.
      class_names: name of each class, in the order of the labels.
      counts: number of shapes in each split.
    """

    name: str
    class_names: tuple[str, ...]
    counts: dict[str, int]


OFFICIAL = {
    40: Official("ModelNet40", MODELNET40, {"train": 9843, "test": 2468}),
    10: Official("ModelNet10", MODELNET10, {"train": 3991, "test": 908}),
}
