"""What a user can choose from, told without importing anything: the command line needs it at once."""

RECIPES = ("feature_extraction", "fine_tuning", "shallow_features", "full_training")

# How a recipe works; the first of each is the default.
MODES = {
    "feature_extraction": ("cached", "augmented"),
    "fine_tuning": ("everything", "partial"),
    "shallow_features": ("all_taps", "cut", "partial"),
    "full_training": ("everything",),
}

DEFAULT_SAMPLE = 1000  # images that the advice is measured on, at most
LARGEST_IMAGE = 2048  # pixels; no published backbone takes more, and memory grows with the square
