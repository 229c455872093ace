"""A fleet and its days, drawn from a seed: what the product is judged on. It knows nothing of the product."""
