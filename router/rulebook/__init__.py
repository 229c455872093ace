"""rules/*.yaml -> typed, frozen rules; every problem at once, with file, line and path."""
