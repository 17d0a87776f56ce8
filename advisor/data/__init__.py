"""DATA to a data set: where the images are, their labels and splits, what is left out and why."""
