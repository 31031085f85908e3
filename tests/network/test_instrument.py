"""Whole libraries, single clients, and back again to the last attribute."""

from __future__ import annotations

import gc
import http.client
import pickle
import subprocess
import sys
import textwrap

import pytest
import requests
import urllib3

from volnux.telemetry import (
    MissingDependencyError,
    capture,
    instrument,
    traced_client,
    uninstrument,
    untrace,
)

pytestmark = pytest.mark.usefixtures("nothing_left")
LIBRARIES = ("http.client", "urllib3", "requests")
PATCHED = (
    http.client.HTTPConnection,
    http.client.HTTPSConnection,
    urllib3.connection.HTTPConnection,
    urllib3.connection.HTTPSConnection,
    urllib3.connectionpool.HTTPConnectionPool,
    urllib3.response.HTTPResponse,
    requests.Session,
)


def attributes():
    return [dict(vars(kind)) for kind in PATCHED]


def by_requests(url):
    with requests.Session() as session:
        return session.get(url).content


def by_urllib3(url):
    with urllib3.PoolManager() as manager:
        return manager.request("GET", url).data


def by_http_client(url):
    host, _, target = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/{target}")
    with connection.getresponse() as response:
        body = response.read()
    connection.close()
    return body


WAYS = {"http.client": by_http_client, "urllib3": by_urllib3, "requests": by_requests}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_recorded_as_a_whole(library, registry, raw_server):
    """One call, and every client of it counts."""
    instrument(library)
    WAYS[library](raw_server.url("/bytes/100"))
    (op,) = registry.network_ops()
    (seen,) = raw_server.wait_exchanges(1)
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)


@pytest.mark.parametrize("library", LIBRARIES)
def test_uninstrument_puts_back_every_attribute(library):
    """What was in the classes is in them again, the very objects."""
    before = attributes()
    instrument(library)
    assert attributes() != before
    uninstrument(library)
    assert attributes() == before


def test_instrumenting_twice_is_once(registry, raw_server):
    """Neither does an exchange count twice, nor does taking it back leave anything."""
    before = attributes()
    instrument("requests")
    instrument("requests", "urllib3", "http.client")
    by_requests(raw_server.url("/bytes/1"))
    assert len(registry.network_ops()) == 1
    uninstrument()
    assert attributes() == before


def test_the_settings_of_the_last_instrument_count(registry, raw_server):
    """Called again, it changes them."""
    instrument("requests")
    instrument("requests", route=lambda path: "/bytes/{size}")
    by_requests(raw_server.url("/bytes/1"))
    (op,) = registry.network_ops()
    assert op.operation == "GET /bytes/{size}"
    assert op.attributes["url.template"] == "/bytes/{size}"


def test_libraries_are_told_apart(registry, raw_server):
    """Who asks for requests does not get what urllib3 does by itself."""
    instrument("requests")
    by_urllib3(raw_server.url("/bytes/1"))
    by_http_client(raw_server.url("/bytes/1"))
    assert registry.network_ops() == []


def test_objects_made_before_count(registry, raw_server):
    """Also on a connection that has been open since."""
    with requests.Session() as session:
        session.get(raw_server.url("/bytes/5"))
        instrument("requests")
        session.get(raw_server.url("/bytes/7"))
    (op,) = registry.network_ops()
    seen = raw_server.wait_exchanges(2)[1]
    assert op.attributes["connection_reused"] is True
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)


def test_an_exchange_under_way_ends_after_uninstrument(registry, raw_server):
    """It is recorded to its end."""
    instrument("requests")
    with requests.Session() as session:
        response = session.get(raw_server.url("/bytes/100"), stream=True)
        uninstrument()
        assert len(response.content) == 100
    (op,) = registry.network_ops()
    assert op.status == "completed"
    assert op.attributes["http.response.body.size"] == 100


def test_nothing_is_recorded_after_uninstrument(registry, raw_server):
    """On a connection that counted before, too."""
    with requests.Session() as session:
        instrument("requests")
        session.get(raw_server.url("/bytes/1"))
        uninstrument()
        session.get(raw_server.url("/bytes/1"))
    assert len(registry.network_ops()) == 1


def test_a_later_patch_of_somebody_else_stays(monkeypatch):
    """What has been put over ours since is not taken away."""
    instrument("requests")
    theirs = lambda *args, **kwargs: None  # noqa: E731
    monkeypatch.setattr(requests.Session, "send", theirs)
    uninstrument()
    assert requests.Session.send is theirs


def test_what_somebody_patches_further_up_is_called_as_well(
    monkeypatch, registry, tls_server, authority
):
    """HTTPS pools inherit their `urlopen`, and other instruments wrap it in the class above."""
    own, seen = urllib3.HTTPConnectionPool.urlopen, []

    def urlopen(self, method, url, *args, **kwargs):
        seen.append(url)
        return own(self, method, url, *args, **kwargs)

    instrument("urllib3")
    try:
        monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", urlopen)
        with urllib3.PoolManager(ssl_context=authority.client_context()) as manager:
            assert manager.request("GET", tls_server.url("/bytes/5")).status == 200
    finally:
        uninstrument("urllib3")
    assert seen == ["/bytes/5"]
    assert len(registry.network_ops()) == 1


def test_a_traced_client_is_the_same_object():
    """Whoever asks for its type or identity sees no difference."""
    session = requests.Session()
    assert traced_client(session) is session
    assert type(session) is requests.Session
    assert untrace(session) is session
    session.close()


def test_untrace_leaves_nothing_behind():
    """Neither in the object nor in the classes."""
    before = attributes()
    session = requests.Session()
    own = dict(vars(session))
    traced_client(session)
    untrace(session)
    assert vars(session) == own
    assert attributes() == before
    session.close()


def test_a_traced_client_that_is_gone_leaves_nothing_behind():
    """The classes are as they were when nobody is traced any more."""
    before = attributes()
    session = traced_client(requests.Session())
    assert attributes() != before
    session.close()
    del session
    gc.collect()
    assert attributes() == before


def test_one_client_is_traced_for_itself(registry, raw_server):
    """Others of its kind are not."""
    with requests.Session() as traced, requests.Session() as other:
        traced_client(traced)
        other.get(raw_server.url("/bytes/1"))
        assert registry.network_ops() == []
        traced.get(raw_server.url("/bytes/1"))
    assert len(registry.network_ops()) == 1


def test_a_traced_session_can_be_pickled(registry, raw_server):
    """As requests does it: what comes back is a session, untraced."""
    session = traced_client(requests.Session())
    again = pickle.loads(pickle.dumps(session))
    assert type(again) is requests.Session
    again.get(raw_server.url("/bytes/1"))
    again.close()
    session.close()
    assert registry.network_ops() == []


def test_while_off_nothing_is_kept(raw_server):
    """A traced client works as it did."""
    with requests.Session() as session:
        traced_client(session)
        assert len(session.get(raw_server.url("/bytes/9")).content) == 9
    with capture() as registry:
        pass
    assert registry.health().started == 0


def test_a_route_that_raises_hurts_nobody(raw_server):
    """The exchange has the method for its name, and the mistake is counted."""

    def route(path):
        raise LookupError(path)

    with capture() as registry, requests.Session() as session:
        traced_client(session, route=route)
        session.get(raw_server.url("/bytes/1"))
    (op,) = registry.network_ops()
    assert op.operation == "GET"
    assert registry.health().errors == {"client": {"route": 1}}


def test_a_name_that_is_none_is_refused():
    """With the names that are, and the nearest one."""
    with pytest.raises(ValueError, match="did you mean 'requests'") as caught:
        instrument("request")
    assert "'http.client', 'urllib3', 'requests', 'httpx', 'aiohttp', 'all'" in str(caught.value)


def test_instrument_needs_a_name():
    """Nothing is not everything."""
    with pytest.raises(ValueError, match="not nothing"):
        instrument()


def test_a_route_has_to_be_callable():
    """A template alone is no route."""
    with pytest.raises(TypeError, match="route= takes a function"):
        instrument("requests", route="/users/{id}")  # type: ignore[arg-type]


def test_what_is_no_client_is_refused():
    """With what would be one."""
    with pytest.raises(TypeError, match=r"needs a client of http\.client, urllib3"):
        traced_client(object())


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_all_imports_no_library():
    """Those that the program imports later are seen to then."""
    printed = run(
        """
        import sys
        from volnux.telemetry import instrument
        instrument("all")
        print("requests" in sys.modules, "httpx" in sys.modules, "aiohttp" in sys.modules)
        import requests
        print(hasattr(requests.Session.send, "__wrapped__"))
        """
    )
    assert printed == ["False", "False", "False", "True"]


def test_all_can_be_taken_back_before_the_import():
    """A library that comes after that is left alone."""
    printed = run(
        """
        from volnux.telemetry import instrument, uninstrument
        instrument("all")
        uninstrument("all")
        import requests
        print(hasattr(requests.Session.send, "__wrapped__"))
        """
    )
    assert printed == ["False"]


def test_a_library_that_is_not_installed_is_named():
    """With what installs it; nothing else is instrumented then."""
    printed = run(
        """
        import sys
        sys.modules["aiohttp"] = None
        import importlib.util
        from volnux.telemetry import MissingDependencyError, instrument
        try:
            instrument("urllib3", "aiohttp")
        except MissingDependencyError as error:
            print(error)
        """
    )
    assert " ".join(printed) == "aiohttp is not installed: run pip install aiohttp"
    assert issubclass(MissingDependencyError, ImportError)
