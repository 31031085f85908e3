"""A Chromium without a window, driven from here.

`VOLNUX_TEST_CHROMIUM` is the path of its executable; chromedriver is beside it, or on the path.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.services.fixtures import REQUIRED

VARIABLE = "VOLNUX_TEST_CHROMIUM"
#: It is to talk to nobody but us, and needs no screen.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)


def _missing(what):
    give_up = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
    give_up(what)


@contextmanager
def chromium(profile):
    """Run it while the block lasts, with a profile of its own; skip or fail where it is not there."""
    program = os.environ.get(VARIABLE)
    if not program:
        _missing(
            f"{VARIABLE} is not set: the path of Chromium's executable, chromedriver beside it"
        )
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        _missing("selenium is not installed: the dependency group `browser` has it")
    beside = os.path.join(os.path.dirname(program), "chromedriver")
    driver = beside if os.path.exists(beside) else shutil.which("chromedriver")
    if driver is None:
        _missing(f"no chromedriver beside {program}, nor on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def said(browser):
    """What has been written to its console since the last time, errors of the policy included."""
    return [one["message"] for one in browser.get_log("browser")]


def requested(browser):
    """The addresses that pages have asked for since the last time.

    Not those that they hold themselves, those of the browser's own first page, and those that the
    page's policy has kept from being asked for.
    """
    asked, blocked = {}, set()
    for one in browser.get_log("performance"):
        message = json.loads(one["message"])["message"]
        about = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            asked[about["requestId"]] = about["request"]["url"]
        elif message["method"] == "Network.loadingFailed" and about.get("blockedReason") == "csp":
            blocked.add(about["requestId"])
    return [
        address
        for number, address in asked.items()
        if number not in blocked and not address.startswith(("data:", "chrome:", "about:"))
    ]


class Pages:
    """A server on the loopback interface that has one page at a time, and notes who asks for what."""

    def __init__(self):
        self.page, self.asked, self._number = b"", [], 0
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                pages.asked.append(self.path)
                found = self.path.startswith("/report.html?")
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(pages.page) if found else 0))
                self.end_headers()
                if found:
                    self.wfile.write(pages.page)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def show(self, page):
        """Have another page, and return its address, which no page had before."""
        self.page = page.encode()
        self._number += 1
        return f"http://127.0.0.1:{self._server.server_port}/report.html?{self._number}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
