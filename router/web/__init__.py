"""aiohttp handlers: webhooks, API, health, metrics. Size limits, authenticity, problem bodies."""
