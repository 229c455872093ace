"""One file per thing that is asked from time to time; what it says is read by a source."""
