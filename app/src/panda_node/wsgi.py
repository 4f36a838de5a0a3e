"""What gunicorn serves: `gunicorn --config python:panda_node.gunicorn_conf panda_node.wsgi:application`."""

from panda_node import config
from panda_node.web import create_application

application = create_application(config.load())
