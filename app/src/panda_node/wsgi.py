"""What gunicorn serves: `gunicorn --config python:panda_node.gunicorn_conf panda_node.wsgi:application`."""

from panda_node import config, payload, worker_signals

# The worker has its handlers by now, and what follows may fork processes of its own.
worker_signals.accept()
_settings = config.load()
application = payload.of(_settings.payload).create_application(_settings)
