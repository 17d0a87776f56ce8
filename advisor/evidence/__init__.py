"""What is measured: features and their cache, similarity, linear probes, the convex head, outliers."""
