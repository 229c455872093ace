"""Incident Router: webhooks in, one deploy-aware page and one message out.

The rooms, in the order a newcomer should read them:

- ``model/``     the nouns: events, deploys, incidents, outcomes, reasons, keys. No I/O.
- ``ports/``     every Protocol one can implement: Source, Poller, Notifier, Clock.
- ``decide/``    the pure core: (event, snapshot, rulebook, now) -> Decision with its reasons.
- ``rulebook/``  rules/*.yaml -> typed rules; all errors at once, with file and path.
- ``sources/``   one file per sender: raw bytes and headers -> verified, typed events. No I/O.
- ``poll/``     one file per API that is asked now and then for what webhooks lost.
- ``listen/``   one file per connection over which deliveries come.
- ``talk/``     one file per chat in which people ask: answers, windows.
- ``work/``      the loops: door, partitions, delivery. The only place that orders steps.
- ``store/``     Redis: scripts, leases, inbox, commit, the embedded server.
- ``notify/``    one file per vendor: render (pure) and send (thin).
- ``web/``       aiohttp handlers: webhooks, API, health, metrics.
- ``kit/``       clock, tasks, backoff, loader: nothing about alerts.
- ``settings.py``  the environment as one frozen object.
- ``app.py``     the composition root: wires everything together.
- ``drivers.py``  its part about drivers: the only other place that names them.
- ``commands.py``  commands that ask a running router: dead letters, capture.
- ``rules_commands.py``  commands that ask the rules: the route tree, and where an alert goes.
- ``test_commands.py``  tests of rules from files.
- ``why_commands.py``  why something goes where it goes; the rules' JSON Schema.
- ``silence_commands.py``  silences.
- ``incident_commands.py``  incidents: what is open, and what people do about it.
- ``import_commands.py``  rules from an Alertmanager's configuration.
- ``deploy_commands.py``  deploys, and telling of one.
- ``silence_import.py``  reads those of an Alertmanager.
- ``coverage.py``  which routes recorded deliveries take.
- ``remote.py``  their HTTP client.
- ``demo.py``    plays the story of docs/tutorial.md against a running router.
- ``__main__.py``  the command line.
"""

__version__ = "0.1.0"
