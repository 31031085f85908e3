"""Secrets that a structure gives away: pairs, flags, named tuples, and tokens that are names."""

from __future__ import annotations

from collections import namedtuple

import pytest

from volnux.telemetry import Redactor, capture, network_op, traced_event

SECRET = "hunter2Xyz"
MASK = "[redacted]"
TOKENS = [
    "sk_live_51HabcdEFGH12345678",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "ghp_0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "whsec_abcdEFGH1",
    "eyJhbGciOiJIUzI1NiJ9",
]

Login = namedtuple("Login", "user password")  # noqa: PYI024  # as the programs have it
Header = namedtuple("Header", "name value")  # noqa: PYI024  # likewise


class Derived(Login):
    """A class of the user's, made from a named tuple."""


class LyingMeta(type):
    """A metaclass that raises whatever its classes are asked."""

    def __getattribute__(cls, name):
        raise ValueError("hostile")


class LyingTuple(tuple, metaclass=LyingMeta):
    """A tuple whose class cannot be asked for anything."""

    __slots__ = ()


class Miscounted(tuple):
    """A tuple with more names than items."""

    __slots__ = ()
    _fields = ("user", "password", "token")


@pytest.fixture(name="redactor")
def _redactor():
    return Redactor()


class TestPairs:
    """A pair whose first half is a secret key."""

    @pytest.mark.parametrize("key", ["X-Api-Key", b"cookie", bytearray(b"authorization"), "token"])
    @pytest.mark.parametrize("value", [SECRET, SECRET.encode(), [SECRET], {"a": SECRET}, 4711])
    @pytest.mark.parametrize("kind", [tuple, list])
    def test_lose_their_second_half(self, redactor, key, value, kind):
        """As a value under that key in a mapping would be lost."""
        _, second = redactor.value("pair", kind([key, value]))
        assert second == MASK

    def test_are_found_in_headers(self, redactor):
        """The shape of `getheaders()`, of an ASGI scope and of raw headers."""
        given = [("X-Api-Key", SECRET), (b"cookie", SECRET.encode()), ("Accept", "text/html")]
        assert redactor.attributes({"headers": given}) == {
            "headers": [["X-Api-Key", MASK], ["cookie", MASK], ["Accept", "text/html"]]
        }

    @pytest.mark.parametrize(
        "pair",
        [["tokens", 512], ["password", None], ["user", "ada"], [1, 2], ["has_password", "x"]],
    )
    def test_that_hold_no_secret_stay(self, redactor, pair):
        """What a mapping would keep, a pair keeps."""
        assert redactor.value("pair", pair) == pair

    def test_of_which_nobody_knows_the_order_stay(self, redactor):
        """A set has no first item."""
        assert sorted(redactor.value("columns", {"password", "email"})) == ["email", "password"]

    def test_are_two_items(self, redactor):
        """Three names in a list are names."""
        names = ["user", "password", "email"]
        assert redactor.value("columns", names) == names

    def test_follow_the_rules_of_the_user(self):
        """Keys that were added or allowed hold for pairs, too."""
        redactor = Redactor(keys=["customer_email"], allow=["pin"], replacement="***")
        given = [("customer_email", "a@b"), ("pin", "here")]
        assert redactor.value("form", given) == [["customer_email", "***"], ["pin", "here"]]

    def test_stay_while_hiding_is_off(self):
        """Nothing is hidden then."""
        assert Redactor(enabled=False).value("pair", ("password", "x")) == ["password", "x"]


class TestFlags:
    """Arguments of a command, one item each."""

    @pytest.mark.parametrize("flag", ["--password", "-token", "--api-key", b"--client-secret"])
    @pytest.mark.parametrize("value", [SECRET, SECRET.encode(), "-" + SECRET, "--" + SECRET])
    def test_announce_the_next_item(self, redactor, flag, value):
        """What follows a flag that names a secret is one."""
        found = redactor.value("argv", ["curl", flag, value, "https://host/"])
        assert found[2:] == [MASK, "https://host/"]

    def test_may_hold_the_secret_themselves(self, redactor):
        """Then the next item is not theirs."""
        argv = ["curl", f"--token={SECRET}", "https://host/"]
        assert redactor.value("argv", argv) == ["curl", f"--token={MASK}", "https://host/"]

    def test_may_stand_last(self, redactor):
        """There is nothing to hide after them."""
        assert redactor.value("argv", ["mysql", "-v", "--password"]) == [
            "mysql",
            "-v",
            "--password",
        ]

    def test_may_follow_each_other(self, redactor):
        """One that was taken for a value announces the next item all the same."""
        found = redactor.value("argv", ["run", "--password", "--token", SECRET])
        assert found == ["run", "--password", MASK, MASK]

    @pytest.mark.parametrize("flag", ["--verbose", "- no token", "--max-tokens", "-5", "-"])
    def test_that_name_no_secret_announce_nothing(self, redactor, flag):
        """Nor does a sentence that begins with a dash."""
        argv = ["run", flag, "plain", "end"]
        assert redactor.value("argv", argv) == argv


class TestNamedTuples:
    """Items that have names."""

    @pytest.mark.parametrize("kind", [Login, Derived])
    def test_lose_what_their_fields_name(self, redactor, kind):
        """The value of a field is judged by the field's name."""
        assert redactor.value("login", kind("ada", SECRET)) == ["ada", MASK]

    def test_may_be_pairs(self, redactor):
        """Names that say nothing do not hide that the first half is a key."""
        assert redactor.value("header", Header("Cookie", SECRET)) == ["Cookie", MASK]

    def test_of_a_hostile_class_are_tuples(self, redactor):
        """A class that raises when asked for its fields has none."""
        assert redactor.value("t", LyingTuple((1, 2, 3))) == [1, 2, 3]

    def test_with_more_names_than_items_hide_what_there_is(self, redactor):
        """A class may say what it likes."""
        assert redactor.value("t", Miscounted(("ada", SECRET))) == ["ada", MASK]


class TestNames:
    """Tokens that could be identifiers."""

    @pytest.mark.parametrize("token", TOKENS)
    def test_hide_tokens(self, redactor, token):
        """A name is searched for tokens as a text is."""
        assert (redactor.name(token), redactor.name(f"for_{token}")) == (MASK, f"for_{MASK}")

    @pytest.mark.parametrize("token", TOKENS)
    def test_hide_tokens_that_are_keys(self, redactor, token):
        """Also where a token is the key of a mapping within."""
        assert redactor.attributes({"seats": {token: 4}}) == {"seats": {MASK: 4}}

    @pytest.mark.parametrize(
        "name", ["load", "customer_region", "sk_learn_estimator", "load_all_of_the_many_customers"]
    )
    def test_that_are_plain_words_stay(self, redactor, name):
        """At the first time and at the second."""
        assert [redactor.name(name), redactor.name(name)] == [name, name]

    def test_hide_what_the_user_has_a_pattern_for(self):
        """Names of one word are no exception."""
        assert Redactor(patterns=[r"acme\d+"]).name("load_acme4711") == f"load_{MASK}"

    def test_are_remembered_within_bounds(self, redactor):
        """A name made of data does not fill the memory."""
        for number in range(5_000):
            redactor.name(f"order_{number}")
        assert len(redactor._names) == 2_048


class TestRecords:
    """Nothing of all that reaches a record."""

    def test_of_events_are_clean(self):
        """Whether the decorator, the block or the program says it."""
        headers = [("X-Api-Key", SECRET), (b"cookie", SECRET.encode())]
        with capture() as registry, traced_event(TOKENS[0], attributes={"h": headers}) as event:
            event.set_attribute("argv", ["curl", "--password", SECRET])
            event.set_attributes({TOKENS[1]: Login("ada", SECRET)})
            event.set_attribute(TOKENS[3], ("password", SECRET))
        shown = repr(registry.events())
        assert [secret for secret in (SECRET, *TOKENS) if secret in shown] == []

    def test_of_operations_are_clean(self):
        """Likewise."""
        with capture() as registry, network_op("h", 1, TOKENS[0], {"h": ("token", SECRET)}) as op:
            op.set_attribute(TOKENS[1], 4)
        shown = repr(registry.network_ops())
        assert [secret for secret in (SECRET, *TOKENS) if secret in shown] == []
