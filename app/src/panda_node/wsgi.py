"""What gunicorn serves: `gunicorn --config python:panda_node.gunicorn_conf panda_node.wsgi:application`."""

from panda_node import config, payload

_settings = config.load()
application = payload.of(_settings.payload).create_application(_settings)
