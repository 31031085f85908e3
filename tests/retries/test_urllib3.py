"""`traced_retry`: the attempts of requests that urllib3 retries, by a server that counts them."""

from __future__ import annotations

import copy
import pickle
import socket
import time
from types import SimpleNamespace

import pytest
import urllib3
from urllib3.exceptions import MaxRetryError, ProtocolError
from urllib3.util import Retry

from tests.at_once import in_threads
from volnux.telemetry import TelemetryError, capture, get_retry_stats, traced_event
from volnux.telemetry.retries import traced_retry


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch, clock):
    """Whoever waits for the next attempt moves the test's clock."""
    monkeypatch.setattr(
        "urllib3.util.retry.time", SimpleNamespace(sleep=clock.advance, time=time.time)
    )


@pytest.fixture(name="client")
def _client():
    """Makes pool managers whose requests are retried by a traced policy."""
    made = []

    def client(retry=None, **settings):
        policy = retry or Retry(**{"total": 3, "status_forcelist": [503], **settings})
        made.append(urllib3.PoolManager(retries=traced_retry(policy)))
        return made[-1]

    yield client
    for http in made:
        close(http)


def close(http):
    """Close what a pool manager has open, also where an error still holds it."""
    for key in http.pools.keys():  # noqa: SIM118  # it is no mapping that can be iterated over
        http.pools[key].close()
    http.clear()


class TestOneRequest:
    def test_that_succeeds_at_once_is_one_attempt(self, registry, clock, web, client, attempts_of):
        """A first try that succeeds is an attempt, and no retry."""
        web.work = lambda: clock.advance(1.0)
        with traced_event("load"):
            assert client().request("GET", web.url).data == b"ok"
            clock.advance(5.0)

        [event] = registry.events()
        assert (event.retry_count, web.count) == (0, 1)
        assert attempts_of(event) == [(1, "completed", None, None, 1.0, 0.0)]

    def test_that_recovers_tells_work_from_backoff(self, registry, clock, web, client, attempts_of):
        """Each attempt has its own work, outcome and error, and the pauses apart."""
        web.work = lambda: clock.advance(1.0)
        web.plan["/a"] = [503, None, 503, 200]
        with traced_event("load"):
            client(backoff_factor=1.0).request("GET", web.url + "/a")
            clock.advance(5.0)

        [event] = registry.events()
        assert (event.status, event.retry_count, web.count) == ("completed", 3, 4)
        aborted = "('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))"
        assert attempts_of(event) == [
            (1, "failed", "ResponseError", "the server answered 503", 1.0, 0.0),
            (2, "failed", "ProtocolError", aborted, 1.0, 2.0),
            (3, "failed", "ResponseError", "the server answered 503", 1.0, 4.0),
            (4, "completed", None, None, 1.0, 0.0),
        ]
        assert get_retry_stats().recovered == 1

    def test_that_gives_up_fails_the_last_attempt(self, registry, web, client, outcomes_of):
        """The event fails with urllib3's error."""
        web.plan["/a"] = [503] * 9
        with pytest.raises(MaxRetryError), traced_event("load"):
            client(total=2).request("GET", web.url + "/a")

        [event] = registry.events()
        assert (event.status, event.error_type, web.count) == ("failed", "MaxRetryError", 3)
        assert outcomes_of(event) == ["1 failed", "2 failed", "3 failed"]

    def test_that_gives_up_may_return_the_last_answer(self, registry, web, client, outcomes_of):
        """An attempt that had to do has failed, also if the event completes."""
        web.plan["/a"] = [503] * 9
        with traced_event("load"):
            answer = client(total=2, raise_on_status=False).request("GET", web.url + "/a")

        assert (answer.status, web.count) == (503, 3)
        [event] = registry.events()
        assert event.status == "completed"
        assert outcomes_of(event) == ["1 failed", "2 failed", "3 failed"]
        assert (get_retry_stats().recovered, get_retry_stats().exhausted) == (0, 1)

    def test_that_is_not_to_be_retried_is_one_attempt(self, registry, web, client, outcomes_of):
        """A POST that broke off may have been carried out."""
        web.plan["/a"] = [None]
        with pytest.raises(ProtocolError), traced_event("load"):
            client().request("POST", web.url + "/a")

        assert outcomes_of(registry.events()[0]) == ["1 failed"]
        assert web.count == 1

    def test_whose_answer_will_do_is_completed(self, registry, web, client, outcomes_of):
        """Whether 404 is an error is not for retrying to say."""
        web.plan["/a"] = [404]
        with traced_event("load"):
            client().request("GET", web.url + "/a")

        assert outcomes_of(registry.events()[0]) == ["1 completed"]

    def test_waits_as_the_server_asks(self, registry, clock, web, client, attempts_of):
        """`Retry-After` is backoff, not work."""
        web.plan["/a"] = [(429, {"Retry-After": "7"}), 200]
        with traced_event("load"):
            client().request("GET", web.url + "/a")

        assert attempts_of(registry.events()[0]) == [
            (1, "failed", "ResponseError", "the server answered 429", 0.0, 7.0),
            (2, "completed", None, None, 0.0, 0.0),
        ]

    def test_that_reaches_nobody_is_retried_as_well(self, registry, client, outcomes_of):
        """A refused connection is a failed attempt."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(MaxRetryError), traced_event("load"):
            client(total=2).request("GET", f"http://127.0.0.1:{port}/")

        [event] = registry.events()
        assert outcomes_of(event) == ["1 failed", "2 failed", "3 failed"]
        assert {one.error_type for one in event.attempts} == {"NewConnectionError"}

    def test_with_retries_switched_off_is_one_attempt(self, registry, web, client, outcomes_of):
        """`Retry(False)` raises what went wrong."""
        web.plan["/a"] = [None]
        with pytest.raises(ProtocolError), traced_event("load"):
            client(Retry(False)).request("GET", web.url + "/a")

        assert outcomes_of(registry.events()[0]) == ["1 failed"]

    def test_hides_secrets_in_errors(self, registry, web, client):
        """Nobody sees the query of a URL."""
        web.plan["/a?token=hunter2"] = [None] * 9
        with pytest.raises(MaxRetryError), traced_event("load"):
            client(total=1).request("GET", web.url + "/a?token=hunter2")

        assert "hunter2" not in repr(registry.events())


class TestInterrupted:
    def test_in_backoff_is_cancelled_without_another_attempt(
        self, registry, web, client, attempts_of, monkeypatch, interrupted
    ):
        """What was waited for has never been made, and the pause was as long as it was."""
        monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(sleep=interrupted))
        web.plan["/a"] = [(503, {"Retry-After": "60"})]
        with pytest.raises(KeyboardInterrupt), traced_event("load"):
            client().request("GET", web.url + "/a")

        [event] = registry.events()
        assert (event.status, event.retry_count, web.count) == ("cancelled", 0, 1)
        assert attempts_of(event) == [
            (1, "failed", "ResponseError", "the server answered 503", 0.0, 0.5)
        ]

    def test_at_work_is_as_its_event_is(self, registry, web, client, attempts_of):
        """Nobody tells the policy of what it cannot decide about."""
        asked = []

        class Interrupted(urllib3.connection.HTTPConnection):
            def getresponse(self):
                asked.append(1)
                if len(asked) > 1:
                    raise KeyboardInterrupt
                return super().getresponse()

        http = client()
        http.connection_from_url(web.url).ConnectionCls = Interrupted
        web.plan["/a"] = [503]
        with pytest.raises(KeyboardInterrupt), traced_event("load"):
            http.request("GET", web.url + "/a")

        [event] = registry.events()
        assert (event.status, event.retry_count) == ("cancelled", 1)
        assert attempts_of(event) == [
            (1, "failed", "ResponseError", "the server answered 503", 0.0, 0.0),
            (2, "cancelled", "KeyboardInterrupt", "", 0.0, 0.0),
        ]


class TestRedirects:
    @pytest.mark.parametrize("followed_by", ["pool manager", "pool"])
    def test_are_requests_of_their_own(self, registry, web, client, outcomes_of, followed_by):
        """A redirect is no retry, whoever follows it."""
        web.plan["/a"] = [503, (302, {"Location": "/b"})]
        web.plan["/b"] = [503, 503, 200]
        follow, url = client().request, web.url + "/a"
        if followed_by == "pool":
            follow, url = client().connection_from_url(web.url).urlopen, "/a"
        with traced_event("load"):
            # Given with the request: before 2.5 a pool manager forgets its own policy at a redirect.
            policy = traced_retry(Retry(total=9, status_forcelist=[503]))
            answer = follow("GET", url, retries=policy)

        assert (answer.status, web.count) == (200, 5)
        [event] = registry.events()
        assert event.retry_count == 3
        assert outcomes_of(event) == [
            *("1 failed", "2 completed"),
            *("1 failed", "2 failed", "3 completed"),
        ]

    def test_that_are_too_many_have_been_answered_each(self, registry, web, client, outcomes_of):
        """The event fails, and no attempt did."""
        web.plan["/a"] = [(302, {"Location": "/a"})] * 9
        with pytest.raises(MaxRetryError), traced_event("load"):
            client().request("GET", web.url + "/a", retries=traced_retry(Retry(redirect=2)))

        [event] = registry.events()
        assert (event.status, event.retry_count, web.count) == ("failed", 0, 3)
        assert outcomes_of(event) == ["1 completed"] * 3

    def test_that_are_not_followed_are_answers(self, registry, web, client, outcomes_of):
        """As requests has it, which follows by itself."""
        web.plan["/a"] = [(302, {"Location": "/b"})]
        with traced_event("load"):
            client().request("GET", web.url + "/a", redirect=False)

        assert outcomes_of(registry.events()[0]) == ["1 completed"]


class TestSeveralRequests:
    def test_one_after_the_other_add_up(self, registry, clock, web, client, attempts_of):
        """Each request begins where the one before ended."""
        web.work = lambda: clock.advance(1.0)
        web.plan["/b"] = [503, 200]
        http = client()
        with traced_event("load"):
            for path in "abc":
                http.request("GET", f"{web.url}/{path}")

        [event] = registry.events()
        assert [(one.number, one.outcome, one.duration) for one in event.attempts] == [
            (1, "completed", 1.0),
            (1, "failed", 1.0),
            (2, "completed", 1.0),
            (1, "completed", 1.0),
        ]
        assert (get_retry_stats().total_attempts, web.count) == (4, 4)

    def test_of_requests_add_up(self, registry, web, outcomes_of):
        """The policy is handed on to urllib3, and redirects are followed without it."""
        requests = pytest.importorskip("requests")
        web.plan["/a"] = [503, 503, (302, {"Location": "/b"})]
        with traced_event("load"), requests.Session() as session:
            policy = traced_retry(Retry(total=3, status_forcelist=[503]))
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=policy))
            again = pickle.loads(pickle.dumps(session))
            assert session.get(web.url + "/a").status_code == 200
            with again:
                assert again.get(web.url + "/c").status_code == 200

        [event] = registry.events()
        assert (event.retry_count, web.count) == (2, 5)
        assert outcomes_of(event) == [
            *("1 failed", "2 failed", "3 completed"),
            "1 completed",
            "1 completed",
        ]

    def test_leave_the_policy_alone(self, registry, web, client):
        """It is everybody's, and has no history."""
        policy = Retry(total=3, status_forcelist=[503])
        web.plan["/a"] = [503, 200]
        http = client(policy)
        shared = http.connection_pool_kw["retries"]
        with traced_event("load"):
            answer = http.request("GET", web.url + "/a")

        assert [one.status for one in answer.retries.history] == [503]
        assert vars(shared) == vars(policy) == vars(Retry(total=3, status_forcelist=[503]))


class TestWithoutAnEvent:
    def test_a_retry_is_counted_as_an_error(self, web, client):
        """As `record_retry` is; a request that needs none is no error."""
        web.plan["/a"] = [503, 503, 200]
        http = client()
        with capture() as registry:
            http.request("GET", web.url + "/a")
            http.request("GET", web.url + "/b")

        assert registry.health().errors == {"retry": {"outside of any event": 2}}

    def test_a_retry_raises_in_strict_mode(self, registry, web, client):
        """A test is told that its retries go nowhere."""
        web.plan["/a"] = [503, 200]
        with pytest.raises(TelemetryError, match="outside of any event"):
            client().request("GET", web.url + "/a")

    def test_while_off_does_nothing(self, web, client):
        """Without telemetry the request is the bare request."""
        web.plan["/a"] = [503, 200]
        answer = client().request("GET", web.url + "/a")

        assert not [name for name in vars(answer.retries) if "volnux" in name]


class Patient(Retry):
    """A policy of a user's own, with a setting that `new` has to carry."""

    def __init__(self, *args, patience=1.0, **settings):
        super().__init__(*args, **settings)
        self.patience = patience

    def new(self, **changes):
        return super().new(patience=self.patience, **changes)

    def get_backoff_time(self):
        return self.patience


class TestUnchanged:
    def test_is_a_policy_of_the_users_own(self, registry, web, client, attempts_of):
        """What a subclass keeps and does is kept and done."""
        web.plan["/a"] = [503, 200]
        policy = Patient(total=3, status_forcelist=[503], patience=3.0)
        with traced_event("load"):
            answer = client(policy).request("GET", web.url + "/a")

        assert isinstance(answer.retries, Patient)
        assert [one.backoff for one in registry.events()[0].attempts] == [3.0, 0.0]

    def test_is_the_face(self):
        """The library's log lines read as before."""
        policy = Retry(total=3)
        assert repr(traced_retry(policy)) == repr(policy)
        assert isinstance(traced_retry(policy), Retry)

    def test_is_pickling(self, registry, web, client):
        """A session with a policy can be sent elsewhere."""
        web.plan["/a"] = [503, 503, 200]
        with traced_event("load"):
            answer = client().request("GET", web.url + "/a")
            waiting = traced_retry(Retry(3)).increment("GET", "/", error=ProtocolError("busy"))
        for policy in (traced_retry(Patient(3, patience=2.0)), answer.retries, waiting):
            for again in (pickle.loads(pickle.dumps(policy)), copy.deepcopy(policy)):
                assert type(again).__name__ == type(policy).__name__
                assert traced_retry(again) is again
                kept = {name: one for name, one in vars(policy).items() if "volnux" not in name}
                assert vars(again).keys() == kept.keys()

    def test_may_be_traced_already(self):
        """Twice is once."""
        policy = traced_retry(Retry(3))
        assert traced_retry(policy) is policy

    @pytest.mark.parametrize("target", [None, 3, True, Retry])
    def test_must_be_a_retry(self, target):
        """Anything else is a mistake, and the message says what would do."""
        with pytest.raises(TypeError, match=r"traced_retry\(Retry\(3\)\)"):
            traced_retry(target)


class TestExactly:
    """Attempts recorded are requests that the server read."""

    @pytest.mark.parametrize("shared", [False, True])
    def test_eight_threads_of_five_hundred_requests(self, web, shared):
        """Each request in an event of its own, or all of a thread in one."""
        answers = [[200], [503, 200], [503, None, 200], [503, 503, 503, 503]]
        for thread in range(8):
            for number in range(500):
                web.plan[f"/{thread}/{number}"] = list(answers[number % 4])
        policy = Retry(total=2, status_forcelist=[503])
        http = urllib3.PoolManager(retries=traced_retry(policy), maxsize=8)

        def fetch(path):
            try:
                http.request("GET", web.url + path)
            except MaxRetryError:
                pass

        def work(thread, step):
            for number in range(500):
                step(f"/{thread}/{number}")

        def run(thread):
            if shared:
                traced_event("thread")(work)(thread, fetch)
            else:
                work(thread, traced_event("request")(fetch))

        with capture(isolated=True, strict=True) as registry:
            in_threads(run, range(8))
        close(http)

        stats, events = registry.retry_stats(), registry.events()
        assert web.count == 8 * 125 * (1 + 2 + 3 + 3)
        assert stats.total_retries == web.count - 4_000
        if shared:
            assert (len(events), stats.total_attempts) == (8, web.count)
        else:
            assert sum(len(event.attempts) for event in events) == web.count
            assert (stats.recovered, stats.exhausted) == (2_000, 1_000)
