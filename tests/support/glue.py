"""A Glue Data Catalog for tests: moto's server, reached through a door that counts requests and may answer itself."""

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.server import ThreadedMotoServer

from podinsight import schemas

HOST = "127.0.0.1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "podinsight",
    "AWS_SECRET_ACCESS_KEY": "podinsight-test-secret",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
}


class GlueDoor:
    """What stands before moto's server, at `url`.

    seen: action and body of each request, in order. regions: the region each was signed for. answers: what the door
    says itself to the next requests of an action, (HTTP status, document) each.
    """

    def __init__(self, host: str, port: int) -> None:
        self._behind = (host, port)
        self.seen: list[tuple[str, Any]] = []
        self.regions: list[str] = []
        self.answers: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self._server = self._open(0)
        self._port = int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def requests(self, action: str) -> list[Any]:
        """The bodies of the requests of one action."""
        return [body for name, body in self.seen if name == action]

    def forget(self) -> None:
        self.seen.clear()
        self.regions.clear()
        self.answers.clear()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens."""
        self.close()
        try:
            yield
        finally:
            self._server = self._open(self._port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _open(self, port: int) -> ThreadingHTTPServer:
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = door._answer(dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer((HOST, port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def _answer(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        action = headers["X-Amz-Target"].partition(".")[2]
        self.seen.append((action, json.loads(body)))
        self.regions.append(headers["Authorization"].split("/")[2])
        if self.answers.get(action):
            status, document = self.answers[action].pop(0)
            return status, json.dumps(document).encode()
        connection = http.client.HTTPConnection(*self._behind, timeout=30)
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def glue() -> Iterator[GlueDoor]:
    """Starts the server and its door, and ends both."""
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    try:
        door = GlueDoor(*server.get_host_and_port())
        try:
            yield door
        finally:
            door.close()
    finally:
        server.stop()


def table_input(table: str, location: str) -> dict[str, Any]:
    """The table that the shipped DDL makes, as Athena hands it to Glue: TEXTFILE stands for these two formats."""
    ddl = schemas.text("athena.sql")
    columns, keys = ddl.split("PARTITIONED BY")
    (serde,) = re.findall(r"SERDE '([^']+)'", ddl)
    return {
        "Name": table,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": "json"},
        "PartitionKeys": _columns(keys),
        "StorageDescriptor": {
            "Columns": _columns(columns),
            "Location": location,
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
            "SerdeInfo": {"SerializationLibrary": serde, "Parameters": {"serialization.format": "1"}},
        },
    }


def _columns(ddl: str) -> list[dict[str, str]]:
    return [
        {"Name": name, "Type": kind, "Comment": comment}
        for name, kind, comment in re.findall(r"`(\w+)` (\w+) COMMENT '([^']*)'", ddl)
    ]
