"""The application served: by a stand-in for httpd, and by gunicorn."""

import contextlib
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request
import wsgiref.simple_server
from collections.abc import Iterator
from typing import Any

from panda_node.web import create_application

from app.tests.identities import Authority
from app.tests.nodes import Node
from app.tests.waiting import eventually, free_port


class Front:
    """Stands in for httpd: ends TLS, asks for a client certificate, and passes on in headers what it says."""

    def __init__(self, node: Node, authority: Authority) -> None:
        self.node = node
        self.authority = authority
        self.settings = node.settings()
        application = create_application(self.settings)
        cache = self.settings.cache_directory

        def with_cache(environ: dict[str, Any], start_response: Any) -> Any:
            name = environ["PATH_INFO"].removeprefix("/cache/")
            if name != environ["PATH_INFO"] and (cache / name).is_file():
                start_response("200 OK", [("Content-Type", "application/octet-stream")])
                return [(cache / name).read_bytes()]
            return application(environ, start_response)

        class Handler(wsgiref.simple_server.WSGIRequestHandler):
            def get_environ(self) -> dict[str, Any]:
                environ = super().get_environ()
                for name in [name for name in environ if name.startswith("HTTP_X_")]:
                    del environ[name]
                certificate = self.connection.getpeercert()
                environ["HTTP_X_SSL_CLIENT_VERIFY"] = "SUCCESS" if certificate else "NONE"
                for key, header in (("subject", "S"), ("issuer", "I")) if certificate else ():
                    parts = [f"/CN={value}" for part in certificate[key] for _, value in part]
                    environ[f"HTTP_X_SSL_CLIENT_{header}_DN"] = "".join(parts)
                return environ

            def log_message(self, *_: object) -> None:
                pass

        class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
            daemon_threads = True
            request_queue_size = 64

            def server_bind(self) -> None:
                socketserver.TCPServer.server_bind(self)  # without the look-up of our own name
                self.server_name, self.server_port = "localhost", self.server_address[1]
                self.setup_environ()

            def finish_request(self, request: Any, client_address: Any) -> None:
                request.do_handshake()
                super().finish_request(request, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.set_app(with_cache)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
        context.load_cert_chain(authority.issue("host"))
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serving(node: Node, workers: int) -> Iterator[tuple[str, int]]:
    """gunicorn with so many workers, on a port of its own: its URL, and its process."""
    port = free_port()
    environment = {"PANDA_SERVER_CONF_NUM_WSGI": str(workers), "PANDA_WSGI_BIND": f"127.0.0.1:{port}"}
    environment["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(dir=node.directory)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:panda_node.gunicorn_conf"]
    with (node.directory / f"gunicorn-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "panda_node.wsgi:application"], env={**node.environment, **environment}, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/node/ready", timeout=2).close()
            return True
        return False

    try:
        eventually(ready, 30)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(40)
