"""The servers there are, by the name that `--with` takes."""

from __future__ import annotations

from headrace_native import jaeger, kafka, postgres, prometheus, s3, weaviate
from headrace_native.server import Recipe

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        kafka.RECIPE,
        kafka.RECIPE_OF_THREE,
        postgres.RECIPE,
        weaviate.RECIPE,
        s3.RECIPE,
        jaeger.RECIPE,
        prometheus.RECIPE,
    )
}
