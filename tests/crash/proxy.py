"""An HTTP proxy in front of one server, that fails on demand."""

import threading
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a port of this machine.

    Attributes:
        refused: how many requests were struck since `refuse` was called.
        requests: the method and the path of each request.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.requests: list[str] = []
        self.serve()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def refuse(self, fault: str, where: str = "") -> None:
        """From now on, fail where the path contains `where`: answer 500 ("error"), hang up ("drop"), or do so after
        passing the request on ("lose")."""
        self.fault, self.where, self.refused = fault, where, 0

    def serve(self) -> None:
        self.refuse("")

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle of a request is no news here."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _pass_on(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self._body()
        struck = self.server.fault and self.server.where in self.path
        self.server.refused += bool(struck)
        if struck and self.server.fault != "lose":
            if self.server.fault == "error":
                self.send_error(500)
            return  # "drop": the connection is closed without a word
        upstream = HTTPConnection("127.0.0.1", self.server.port)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _OF_THE_CONNECTION}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        if struck:
            upstream.close()
            return
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in _OF_THE_CONNECTION:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(content)
        upstream.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":  # which is how an empty file comes
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        pass
