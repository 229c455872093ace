"""One file per chat in which people ask the router something."""
