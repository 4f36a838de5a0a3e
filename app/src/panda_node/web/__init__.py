"""The WSGI application."""

import falcon
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from panda_node import log_files
from panda_node.config import Settings
from panda_node.db import version
from panda_node.db.pool import Database
from panda_node.errors import DatabaseReadOnlyError
from panda_node.readiness import ReadinessCheck
from panda_node.web import api, legacy, node, requests
from panda_node.work.overview import Overview

LOGS = (log_files.ENTRY, log_files.POOL, log_files.STATEMENTS)


def create_application(settings: Settings) -> "falcon.App[falcon.Request, falcon.Response]":
    """Builds the application of one process, with its logs opened and its own pool. Connects to nothing yet."""
    log_files.open_logs(settings.log_directory, settings.log_level, *LOGS)
    database = Database(settings.database)
    application = falcon.App(middleware=[requests.RequestRecorder()])
    requests.add_error_handlers(application)
    legacy.add_routes(application, api.add_routes(application, settings, database))
    check = ReadinessCheck(lambda: _schema(database), settings.node_state_file, settings.database)
    node.add_routes(application, settings, check, version.BUNDLED, Overview(database))
    return application


def _schema(database: Database) -> None:
    """Over the pool, so that a pool without a connection to spare shows too."""
    with database.reading("schema version") as connection:
        read_only = database.driver.read_only
        if read_only and connection.scalar(text(read_only)) in ("on", 1):
            raise DatabaseReadOnlyError(f"{database.settings}: takes no writes")
        try:
            row = connection.execute(text(version.BUNDLED.select)).one_or_none()
        except DBAPIError as error:
            if not database.driver.table_missing(error.orig):
                raise
            row = None
    version.judge(version.Version(*row) if row else None)
