"""How a model is fitted: on frozen features, or by gradient steps."""
