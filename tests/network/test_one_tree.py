"""Two processes, a file of records each, and one tree in the report on both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.extras

SERVER = """
from wsgiref.simple_server import WSGIRequestHandler, make_server
from volnux.telemetry import JSONLinesPublisher, WSGIMiddleware, monitor_events, traced_event

@traced_event
def look_up():
    return b"found"

def app(environ, start_response):
    start_response("200 OK", [])
    return [look_up()]

with monitor_events([JSONLinesPublisher("server.jsonl")]):
    with make_server("127.0.0.1", 0, WSGIMiddleware(app)) as server:
        print(server.server_port, flush=True)
        server.handle_request()
"""
BY_HAND = """
import sys
from http.client import HTTPConnection
from volnux.telemetry import inject, network_op, traced_event

@traced_event
def fetch(port):
    connection = HTTPConnection("127.0.0.1", port)
    with network_op("127.0.0.1", port, "GET") as op:
        headers = {}
        inject(headers, op)
        connection.request("GET", "/", headers=headers)
        op.received(len(connection.getresponse().read()))
    connection.close()

fetch(int(sys.argv[1]))
"""
BY_CLIENT = """
import sys
import requests
from volnux.telemetry import traced_client, traced_event

@traced_event
def fetch(port):
    with traced_client(requests.Session(), propagate_trace=True) as session:
        assert session.get(f"http://127.0.0.1:{port}/").content == b"found"

fetch(int(sys.argv[1]))
"""


def volnux(folder, *words):
    """What a command writes on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "volnux", *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    return done.stdout


@contextmanager
def server(folder):
    """The port of a server in a process of its own, which ends after one request."""
    (folder / "server.py").write_text(SERVER, "utf-8")
    command = [sys.executable, "server.py"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    assert process.returncode == 0


@pytest.fixture(scope="module", params=[BY_HAND, BY_CLIENT], ids=["by hand", "by a client"])
def folder(request, tmp_path_factory):
    """Where a client and a server have each written what they recorded."""
    tmp_path = tmp_path_factory.mktemp("processes")
    (tmp_path / "client.py").write_text(request.param, "utf-8")
    with server(tmp_path) as port:
        volnux(tmp_path, "run", "--no-report", "--out", "client.jsonl", "client.py", port)
    return tmp_path


def shape_of(node, depth=0):
    """A tree as the depths, kinds and names of its nodes."""
    yield depth, node["kind"], node["name"].partition(":")[0]
    for child in node["children"]:
        yield from shape_of(child, depth + 1)


def test_the_records_of_two_processes_are_one_tree(folder):
    """The server's events hang under the operation of the client."""
    files = ["client.jsonl", "server.jsonl"]
    report = json.loads(volnux(folder, "report", "--slow", "0", "--format", "json", *files))
    [tree] = report["slow"]["trees"]
    assert list(shape_of(tree)) == [
        (0, "event", "fetch"),
        (1, "network", "GET 127.0.0.1"),
        (2, "event", "GET"),
        (3, "event", "look_up"),
    ]
    [operation] = tree["children"]
    [request] = operation["children"]
    assert tree["process_id"] == operation["process_id"] != request["process_id"]


def test_they_are_drawn_as_one_tree(folder):
    """On a terminal, each in its place."""
    shown = volnux(folder, "report", "--slow", "0", "client.jsonl", "server.jsonl")
    drawn = re.findall(
        r"^ +\S+s  ([ └─]*\S+(?: \S+)*)", shown.partition("SLOWEST")[2], re.MULTILINE
    )
    assert [re.sub(r":\d+$", "", line) for line in drawn] == [
        "fetch",
        "└─ GET 127.0.0.1",
        "   └─ GET",
        "      └─ look_up",
    ]
