"""A recipe: a named configuration."""

from zoo import Info, Recipe

RECIPE = Recipe(
    info=Info(name="tiny-binary", summary="normal or abnormal, in a minute", tasks=("binary",)),
    config={
        "task": "binary",
        "model": {"name": "small-cnn", "width": 8},
        "loss": {"name": "smooth-bce", "smoothing": 0.05},
        "augment": {"name": "shift"},
        "epochs": 2,
        "threshold": {"rule": "youden"},
    },
)
