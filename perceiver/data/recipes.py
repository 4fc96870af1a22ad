"""How a loader takes the options of a recipe, what is done to each example, beside its own."""

import functools
import inspect
from collections.abc import Callable

from perceiver.data.source import Dataset

Loader = Callable[..., Dataset]


def takes_recipe(kind: type) -> Callable[[Loader], Loader]:
    """Makes the options of a recipe those of a loader.

    The loader's own signature has `recipe`; what is called in its place takes each of the recipe's
    attributes by name, with its default, and hands the recipe on.

    Args:
      kind: the recipe's dataclass, which raises an InputError where an attribute can't be.
    """
    of_recipe = inspect.signature(kind).parameters

    def decorate(load: Loader) -> Loader:
        signature = inspect.signature(load)
        own = [p for name, p in signature.parameters.items() if name != "recipe"]
        shown = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in of_recipe.values()]

        @functools.wraps(load)
        def with_options(**options) -> Dataset:
            recipe = kind(**{name: options.pop(name) for name in of_recipe if name in options})
            return load(**options, recipe=recipe)

        with_options.__signature__ = signature.replace(parameters=own + shown)
        return with_options

    return decorate
