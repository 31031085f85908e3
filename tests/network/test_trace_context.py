"""What `traceparent` and `tracestate` may say, by the rules of W3C Trace Context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.network._web import HEADER, PARENT, TRACE, injected, step, trace_in
from volnux.telemetry import capture, extract, traced_event
from volnux.telemetry.clients._exchange import Exchange
from volnux.telemetry.clients._gate import Settings
from volnux.telemetry.clients._trace import trace_headers

VALID = {
    "not sampled": (f"00-{TRACE}-{PARENT}-00", "00"),
    "sampled": (f"00-{TRACE}-{PARENT}-01", "01"),
    "of random digits": (f"00-{TRACE}-{PARENT}-02", "02"),
    "flags that nobody knows": (f"00-{TRACE}-{PARENT}-ff", "03"),
    "another version": (f"cc-{TRACE}-{PARENT}-03", "01"),
    "another version with more": (f"cc-{TRACE}-{PARENT}-01-what-the-future", "01"),
}
INVALID = {
    "empty": "",
    "cut": HEADER[:-1],
    "long": f"{HEADER}0",
    "more in version 00": f"{HEADER}-x",
    "more without a dash": f"cc-{TRACE}-{PARENT}-01.x",
    "version ff": f"ff-{TRACE}-{PARENT}-01",
    "no trace": f"00-{'0' * 32}-{PARENT}-01",
    "no parent": f"00-{TRACE}-{'0' * 16}-01",
    "upper case": HEADER.upper(),
    "no digits": f"00-{TRACE}-{'g' * 16}-01",
    "other digits": f"00-{TRACE}-{PARENT[:-1]}\u0661-01",
    "a line": f"{HEADER}\n",
    "two": f"{HEADER},{HEADER}",
    "huge": f"cc-{TRACE}-{PARENT}-01-{'x' * 5_000}",
}


class TestTraceparent:
    @pytest.mark.parametrize(("header", "flags"), VALID.values(), ids=VALID)
    def test_valid_ones_are_followed(self, registry, header, flags):
        """Everything is recorded, and what the sender has decided about sampling goes on."""
        with extract({"traceparent": header}):
            headers = step()

        assert registry.events()[0].parent_id == PARENT
        assert headers["traceparent"].split("-")[1::2] == [TRACE, flags]

    @pytest.mark.parametrize("header", INVALID.values(), ids=INVALID)
    def test_invalid_ones_are_passed_over(self, registry, header):
        """By the rules of W3C Trace Context."""
        with extract({"traceparent": header}) as parent:
            assert parent is None

    def test_two_of_them_are_passed_over(self, registry):
        """Nobody knows which is true."""
        with extract([("traceparent", HEADER), ("Traceparent", HEADER)]) as parent:
            assert parent is None

    @given(st.text(), st.text())
    def test_no_text_raises(self, header, state):
        """Whatever somebody sends, the block runs."""
        with capture(strict=True), extract({"traceparent": header, "tracestate": state}):
            step()

    @given(st.binary(), st.binary())
    def test_no_bytes_raise(self, header, state):
        """Nor in ASGI."""
        with capture(strict=True), extract([(b"traceparent", header), (b"tracestate", state)]):
            step()

    @given(
        st.integers(1, (1 << 128) - 1),
        st.integers(1, (1 << 64) - 1),
        st.integers(0, 1),
        st.lists(st.from_regex(r"[a-u][a-z0-9]{0,9}=[!-+]{1,9}", fullmatch=True), max_size=20),
    )
    def test_valid_ones_go_on_as_they_came(self, trace, parent, flags, members):
        """Every trace, parent, flag and foreign member."""
        header = f"00-{trace:032x}-{parent:016x}-{flags:02x}"
        state = ",".join(members)
        with capture(strict=True), extract({"traceparent": header, "tracestate": state}) as found:
            sent = injected()

        assert (found, sent["traceparent"]) == (f"{parent:016x}", header)
        assert sent["tracestate"].split(",")[1:] == members


class TestTracestate:
    @staticmethod
    def sent_on(*states):
        """What stands behind our own member in what is sent on."""
        headers = [("traceparent", HEADER), *(("tracestate", state) for state in states)]
        with capture(strict=True), extract(headers), traced_event("a") as event:
            ours, _, others = injected()["tracestate"].partition(",")
        assert ours == f"volnux={event.task_id}"
        return others

    def test_members_of_others_are_sent_on(self):
        """In their order, behind ours; several headers are one."""
        assert self.sent_on("a=1, b@c=2", "", " d=3") == "a=1,b@c=2,d=3"

    def test_our_own_is_replaced(self):
        """It says where the sender stood."""
        assert self.sent_on(f"a=1,volnux={'3' * 16},b=2") == "a=1,b=2"

    @pytest.mark.parametrize("state", ["a", "A=1", "a=1=2", "a=\u00e9", "=1", "a=1," * 33])
    def test_an_invalid_one_is_dropped(self, state):
        """As a whole, and the parent holds all the same."""
        assert self.sent_on(state) == ""

    def test_what_is_too_long_is_cut_at_a_member(self):
        """The newest come first, and are kept."""
        assert self.sent_on(f"a={'x' * 250},b={'y' * 200},c={'z' * 250}") == (
            f"a={'x' * 250},b={'y' * 200}"
        )

    def test_no_more_than_32_members_are_sent(self):
        """Ours takes the place of the last."""
        members = [f"m{number}=1" for number in range(32)]
        assert self.sent_on(",".join(members)).split(",") == members[:31]

    def test_names_the_parent_across_a_service_that_is_not_ours(self, registry):
        """That has put itself into `traceparent`, and left `tracestate` as it was."""
        with traced_event("client") as client:
            state = injected()["tracestate"]
        with extract({"traceparent": HEADER, "tracestate": f"other=1,{state}"}):
            headers = step()

        assert registry.events("step")[0].parent_id == client.task_id
        assert trace_in(headers) == TRACE


class TestClients:
    def test_a_client_names_its_operation(self, registry):
        """So that what the server records hangs under it."""
        with traced_event("a"):
            exchange = Exchange("GET", "h", 80, "/", Settings(propagate_trace=True))
            value = dict(trace_headers(exchange)).get("traceparent")
            expected = injected(exchange.op)
        exchange.end()

        assert value == expected["traceparent"]
        assert value.split("-")[2] == registry.network_ops()[0].task_id

    def test_a_client_can_send_tracestate_too(self, registry):
        """Which matters where somebody else traces on the way."""
        exchange = Exchange("GET", "h", 80, "/", Settings(propagate_trace=True))
        assert trace_headers(exchange) == list(injected(exchange.op).items())
        exchange.end()

    def test_a_client_sends_nothing_while_telemetry_is_off(self):
        """There is no operation."""
        exchange = Exchange("GET", "h", 80, "/", Settings(propagate_trace=True))
        assert dict(trace_headers(exchange)).get("traceparent") is None
