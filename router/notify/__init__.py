"""One file per vendor that people are told through: a pure render and a thin send."""
