"""One file per vendor that hands its requests over a connection that we open, where it cannot reach us."""
