"""Clock, tasks, backoff, loader: small tools that know nothing about alerts."""
