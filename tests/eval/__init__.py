"""make eval: which deploy did it, judged against a sealed truth; separate from the product."""
