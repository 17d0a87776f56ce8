"""The four recipes. Each is a module with `train(job) -> Trained`; none of them decides anything."""

from recipes import feature_extraction, fine_tuning, full_training, shallow_features

RECIPES = {
    "feature_extraction": feature_extraction.train,
    "fine_tuning": fine_tuning.train,
    "shallow_features": shallow_features.train,
    "full_training": full_training.train,
}
