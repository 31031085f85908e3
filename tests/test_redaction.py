"""Bounds and secrets: what may enter a record."""

# ruff: noqa: SIM905  # words in a row are easier to read than one to a line

from __future__ import annotations

import json
import math
import pickle
import re
import sys
from collections import OrderedDict, UserDict
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from volnux.telemetry import _redaction
from volnux.telemetry._redaction import Redactor, cuts, get_redactor, set_redactor

SECRET = "hunter2Xyz"


@pytest.fixture(name="redactor")
def _redactor():
    return Redactor()


class Hostile:
    """An object that raises whatever is asked of it."""

    def _raise(self, *args):
        raise ValueError("hostile")

    __repr__ = __str__ = __eq__ = __len__ = __iter__ = __bool__ = __getitem__ = _raise
    __index__ = __float__ = __int__ = __contains__ = __format__ = __dir__ = _raise

    def __hash__(self):
        raise ValueError("hostile")

    def __getattr__(self, name):
        raise ValueError("hostile")


#: A key that was cut, and another one behind it.
PEM_IN_PEM = """key -----BEGIN RSA PRIVATE KEY-----
MIIEpAIBAAKCAQEA
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIAbcdefg
-----END EC PRIVATE KEY-----
and more"""


class LyingText(str):
    """A str whose own methods cannot be trusted."""

    __slots__ = ()

    def __str__(self):
        raise ValueError("hostile")

    __repr__ = __len__ = __hash__ = __str__
    __getitem__ = __eq__ = __contains__ = lambda self, other: 1 / 0


class LyingDict(dict):
    """A dict whose own methods cannot be trusted."""

    def items(self):
        return [("innocent", "nothing to see")]

    def __iter__(self):
        raise ValueError("hostile")

    __len__ = keys = values = __iter__
    __getitem__ = lambda self, key: 1 / 0  # noqa: E731


class LyingList(list):
    """A list whose iterator never ends."""

    def __iter__(self):
        while True:
            yield SECRET

    def __len__(self):
        raise ValueError("hostile")


SECRET_KEYS = """
password Password PASSWORD passwd pwd secret token api_key apikey api-key apiKey APIKey X-Api-Key x_api_key access_key
AccessKey aws_access_key_id AWS_SECRET_ACCESS_KEY private_key privateKey authorization Authorization
proxy-authorization cookie Cookie Set-Cookie set_cookie session session_id sessionId JSESSIONID PHPSESSID credential
credentials bearer jwt signature dsn SENTRY_DSN connection_string connectionString passphrase otp pin PIN_CODE
db_password dbpassword database.password user-password client_secret clientSecret refresh_token accessToken
csrfmiddlewaretoken X-CSRF-Token auth basic_auth db_pass MYSQL_PWD encryption_key signing-key master_key ssh_key
AccountKey sharedAccessKey password1 token2 secretKey cvv ssn credit_card security_code card_number auth_token
id_token oauth_token github_token slackToken webhook_secret totp creds cred.value recovery_codes tokens
""".split()

PLAIN_KEYS = """
author authority keyboard tokenizer token_count max_tokens total_tokens_limit tokenize key keys primary_key
cache_key sort_key public_key monkey hotkey passes passed passenger compass bypass secretary pinned spin opinion
session_count session_duration token_type token_expires_in expires password_length pass_rate region user name
user_id id url host cookie_count signature_algorithm auth_method authentication_type authored obsession assessment
design assign signal pins_total key_count pin_memory tokenizer_name password_policy is_secret has_password
""".split()


class TestKeys:
    """Which keys name a secret."""

    @pytest.mark.parametrize("key", SECRET_KEYS)
    def test_hides_secret_keys(self, redactor, key):
        """A value under a key that names a secret is replaced, whatever the key's spelling."""
        assert redactor.attributes({key: SECRET}) == {key: "[redacted]"}

    @pytest.mark.parametrize("key", PLAIN_KEYS)
    def test_keeps_plain_keys(self, redactor, key):
        """A key that merely looks like one that names a secret keeps its value."""
        assert redactor.attributes({key: "plain"}) == {key: "plain"}

    @pytest.mark.parametrize("key", ["tokens", "prompt_tokens", "sessions", "max_tokens"])
    def test_keeps_counts(self, redactor, key):
        """A number under a plural is a count, not a secret."""
        assert redactor.value(key, 512) == 512

    @pytest.mark.parametrize("key", ["pin", "otp", "password", "token"])
    def test_hides_numbers(self, redactor, key):
        """A number can be a secret too."""
        assert redactor.value(key, 1234) == "[redacted]"

    @pytest.mark.parametrize("value", [None, True, False])
    def test_keeps_what_tells_nothing(self, redactor, value):
        """Whether there is a secret at all may be known."""
        assert redactor.value("password", value) is value

    def test_hides_at_any_depth(self, redactor):
        """A secret key is found in containers within containers."""
        given = {"config": {"db": [{"password": SECRET, "port": 5432}]}, "auth": (SECRET, SECRET)}
        expected = {
            "config": {"db": [{"password": "[redacted]", "port": 5432}]},
            "auth": "[redacted]",
        }
        assert expected == redactor.attributes(given)

    def test_judges_keys_of_any_class(self, redactor):
        """Bytes and enum members name secrets as strings do."""

        class Field(str, Enum):
            PASSWORD = "password"

        given = {b"password": SECRET, Field.PASSWORD: SECRET, ("api", "key"): SECRET}
        assert SECRET not in json.dumps(redactor.attributes(given))

    def test_takes_further_keys(self):
        """The user's own keys hide in attributes and in texts."""
        redactor = Redactor(keys=["customer_email"])
        assert redactor.value("Customer-Email", "a") == "[redacted]"
        assert redactor.value("the_customer_email_0", "a") == "[redacted]"
        assert redactor.value("customer", "a") == "a"
        assert (
            redactor.text("bad customerEmail: a, retry") == "bad customerEmail: [redacted], retry"
        )

    def test_allows_keys(self):
        """What the user allows is kept, in attributes and in texts."""
        redactor = Redactor(allow=["session_id"])
        assert redactor.value("SessionId", "a") == "a"
        assert redactor.text("session_id=a token=b") == "session_id=a token=[redacted]"

    def test_hides_a_long_key(self, redactor):
        """A key too long to keep is judged by both of its ends."""
        (found,) = redactor.attributes({"x" * 100_000 + "_password": SECRET}).values()
        assert found == "[redacted]"


TEXTS = [
    "postgres://user:{}@db.example.com:5432/app",
    "postgresql+asyncpg://user:p%40{}@db/app?sslmode=require",
    "redis://:{}@cache:6379/0",
    "amqp://guest:{}@mq//vhost",
    "mongodb+srv://u:{}@a.mongodb.net,b.mongodb.net/?w=1",
    "mysql://root:pa/ss@{}@db/app",
    "https://{}@github.com/org/repo.git",
    "https://user:{}@[::1]:8443/x",
    "HTTPS://user:{}/tail@host/x",
    "https://api.example.com/v1?key={}&page=2",
    "https://host/cb#access_token={}&state=1",
    "https://host/blob?sv=2020&sig={}",
    "HTTPConnectionPool: Max retries exceeded with url: /v1?appid={} (Caused by x)",
    "bob:{}@db.example.com refused",
    "host=db user=app password={} dbname=app",
    "host=db password='{} with space' dbname=app",
    "Server=db;User=sa;Password={};Encrypt=yes",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={}==;EndpointSuffix=x",
    "password={}",
    "password = {}",
    "password: {}",
    "PASSWORD={} make deploy",
    "api key: {}",
    "Secret access key = {}",
    "connection string: {}",
    '{{"password": "{}", "user": "bob"}}',
    "{{'password': '{}', 'user': 'bob'}}",
    '{{"token":"{}"}}',
    '"{{\\"token\\": \\"{}\\"}}"',
    "{{'auth': {{'user': 'bob', 'pw': '{}'}}, 'x': 1}}",
    "{{b'password': b'{}'}}",
    "password='it\\'s {}'",
    "User(name='bob', password='{}')",
    "config['password'] = '{}'",
    "('password', '{}')",
    "[(b'authorization', b'{}')]",
    "Command '['mysql', '--password', '{}']' returned 1",
    "mysql --password={} --host db",
    "mysql --password {} --host db",
    "curl -H 'X-Api-Key: {}' https://host",
    "Authorization: Bearer {}",
    "Authorization: Basic {}==",
    "authorization: {}",
    'Authorization: Digest username="bob", response="{}"',
    "Authorization: AWS4-HMAC-SHA256 Credential=a, Signature={}",
    "headers={{'Authorization': 'Bearer {}'}}",
    "sent Bearer {} to the server",
    "Basic dXNlcjo{}",
    "Cookie: theme=dark; sid={}; lang=en",
    "Set-Cookie: sid={}; Path=/; HttpOnly",
    "<password>{}</password>",
    "<ns:ApiKey>{}</ns:ApiKey>",
    "token => {}",
    "session_id := {}",
    "password:\t{}",
    "line one\npassword: {}\nline three",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\\n{}",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}\n-----END ENCRYPTED PRIVATE KEY-----\nmore",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n{}",
    "https://hooks.slack.com/services/T000/B000/{}",
    "https://discord.com/api/webhooks/123/{}",
    "https://api.telegram.org/bot12345:{}/sendMessage",
]

SHAPES = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "gho_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv",
    "glpat-abcDEF1234567890abcd",
    "glc_eyJvIjoiMSIsIm4iOiJ4In0=",
    "glsa_abcdEFGH1234567890abcdEFGH_12345678",
    "sk-abcdEFGH1234567890abcdEFGH",
    "sk-ant-api03-abcdefghijklmnop",
    "sk-proj-abcdefghijklmnop",
    "sk_live_abcdEFGH12345678",
    "xoxb-1234567890-abcdefghij",
    "xoxp-1234567890-abcdefghij",
    "xapp-1-A0123-456789-abcdef",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "ya29.a0AfH6SMBabcdefghij",
    "npm_abcdefghijklmnop1234567890abcdefghij",
    "pypi-AgEIcHlwaS5vcmcCJGFiY2Rl",
    "hf_abcdefghijklmnopqrstuvwxyz",
    "dop_v1_0123456789abcdef0123456789abcdef",
    "SG.abcdefghijklmnop.qrstuvwxyz0123456789",
    "hvs.CAESIJabcdefghijklmnop",
    "shpat_0123456789abcdef0123456789abcdef",
]

PLAIN_TEXTS = [
    "",
    "division by zero",
    "name 'x' is not defined",
    "[Errno 2] No such file or directory: '/tmp/x.txt'",
    "HTTPConnectionPool(host='127.0.0.1', port=80): Max retries exceeded with url: /index.html",
    "404 Client Error: Not Found for url: https://example.com/a/b",
    "KeyError: 'token'",
    "bearer token expired",
    "Basic authentication failed",
    "password authentication failed for user bob",
    "expected max_tokens=100, tokens: 512, author: bob, keyboard=us",
    "token=None password='' secret: null",
    "f(token: str) takes one argument",
    "sk-learn-style-estimator-checks",
    "git@github.com:org/repo.git",
    "see https://example.com/@user/post and mailto:bob@example.com",
    "http://[::1]:8080/x is down",
    "at 10:30:15 in C:\\temp, ratio 3:4",
    "a ? b : c # d",
    "two\nlines\tand a tab",
    "naïve café 日本語 🎉",
]


class TestTexts:
    """Secrets in error texts and string values."""

    @pytest.mark.parametrize("template", TEXTS)
    def test_hides_secrets(self, redactor, template):
        """A secret in a text is hidden wherever its surroundings give it away."""
        text = template.format(SECRET)
        found = redactor.text(text)
        assert SECRET not in found
        assert "[redacted]" in found
        assert redactor.text(found) == found

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("template", ["{}", "got {} back", "<{}>", "a={}", "x/{}/y", '"{}"'])
    def test_hides_well_known_shapes(self, redactor, shape, template):
        """A token of a well-known make is hidden wherever it stands."""
        found = redactor.text(template.format(shape))
        assert found == template.format("[redacted]")

    @pytest.mark.parametrize("text", PLAIN_TEXTS)
    def test_keeps_plain_texts(self, redactor, text):
        """A text without secrets stays as it is."""
        assert redactor.text(text) == text

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("https://u:p@host/x?a=1&b=2", "https://[redacted]@host/x?a=[redacted]&b=[redacted]"),
            ("user=bob password=x, host=y", "user=bob password=[redacted], host=y"),
            ('{"password": "x", "n": 1}', '{"password": "[redacted]", "n": 1}'),
            ("Authorization: Bearer x rejected", "Authorization: [redacted] rejected"),
            ("(url: https://h/?a=b), sorry", "(url: https://h/?a=[redacted]), sorry"),
            ("bad password=x.", "bad password=[redacted]."),
            ('password="a token=b c" rest', 'password="[redacted]" rest'),
            (PEM_IN_PEM, "key [redacted]\nand more"),
        ],
    )
    def test_keeps_what_surrounds_a_secret(self, redactor, text, expected):
        """Keys, hosts and the rest of the sentence remain."""
        assert redactor.text(text) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "the columns ['user', 'password', 'email'] are missing",
            "see secret://vault/database",
        ],
    )
    def test_keeps_names_that_have_no_value(self, redactor, text):
        """The name of a secret in a list or in front of an address is no secret."""
        assert redactor.text(text) == text

    @pytest.mark.parametrize(("secrets", "rest"), [(3, '" and the rest'), (60, "")])
    def test_hides_the_rest_where_secrets_are_without_end(self, redactor, secrets, rest):
        """Secrets within the quotes of another one are looked for, but not for ever."""
        inside = " ".join(f"token=s{number}" for number in range(secrets))
        assert redactor.text(f'password="{inside}" and the rest') == f'password="[redacted]{rest}'

    def test_takes_a_replacement_that_its_own_pattern_finds(self):
        """It is replaced a few times over, and the secret is gone."""
        redactor = Redactor(patterns=[r"\d+"], replacement="[1]", max_text=40)
        assert redactor.text("card 4711") == "card [[[[1]]]]"
        long = redactor.text("card 4711 " * 10)
        assert ("4711" in long, len(long)) == (False, 40)

    def test_takes_patterns(self):
        """The user's own patterns hide too, as text or compiled."""
        redactor = Redactor(patterns=[r"\d{4}-\d{4}", re.compile("acme-[a-z]+")])
        assert redactor.text("card 1234-5678 of acme-corp") == "card [redacted] of [redacted]"
        assert redactor.name("pay 1234-5678") == "pay [redacted]"

    def test_takes_another_replacement(self):
        """What stands in a secret's place can be chosen, backslashes and all."""
        assert Redactor(replacement=r"\1***").text("password=x") == r"password=\1***"

    def test_can_be_switched_off(self):
        """Without hiding, the bounds stay."""
        redactor = Redactor(enabled=False, max_text=40)
        assert redactor.attributes({"password": "x", "url": "http://u:p@h/"}) == {
            "password": "x",
            "url": "http://u:p@h/",
        }
        assert len(redactor.text("x" * 100)) == 40

    def test_survives_a_pattern_that_raises(self):
        """A rule that fails hides everything instead of letting anything through."""

        class Broken:
            def sub(self, *args):
                raise RecursionError

        redactor = Redactor()
        redactor._patterns = (Broken(),)
        assert redactor.text(SECRET) == "<unprintable text>"
        assert redactor.attributes({"a-b": SECRET}) == {"<unprintable name>": "<unprintable text>"}

    def test_hides_secrets_that_the_cut_tears(self, redactor):
        """A secret across the cut is gone, wherever the cut falls."""
        for offset in range(900, 1100):
            found = redactor.text("x" * offset + " password=" + SECRET * 3 + " tail" * 1000)
            assert "hunter" not in found

    def test_hides_secrets_at_the_window(self, redactor):
        """A secret at the end of what is looked at is not let through as a torn piece."""
        for offset in range(4000, 4100):
            text = "p=x " + "password=" + "y" * offset + " ghp_16C7e42F292c6912E7710c838347Ae178B4a"
            assert "ghp_" not in redactor.text(text)


class TestBounds:
    """What is too long, too many or too deep is cut, and counted."""

    def test_cuts_names(self, redactor):
        """A name is one line of at most `max_name` characters."""
        found = redactor.name("step " * 1000)
        assert len(found) == 200
        assert found.endswith("…")

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("nul\x00 esc\x1b[31m", "nul\\x00 esc\\x1b[31m"),
            ("lone \ud800", "lone \\ud800"),
            ("sep\u2028 bidi\u202e", "sep\\u2028 bidi\\u202e"),
            ("日本語", "日本語"),
            (b"bytes", "bytes"),
            (7, "7"),
            ("", ""),
        ],
    )
    def test_keeps_names_on_one_line(self, redactor, name, expected):
        """Control characters and lone surrogates are escaped."""
        assert redactor.name(name) == expected

    def test_cuts_texts_visibly(self, redactor):
        """A text cut short says so."""
        found = redactor.text("word " * 1000)
        assert len(found) == 1024
        assert found.endswith("…[cut]")

    def test_escapes_in_texts(self, redactor):
        """A text keeps its lines and nothing that would harm a terminal or an encoder."""
        assert redactor.text("a\r\nb\x1b[0m\ud800") == "a\nb\\x1b[0m\\ud800"

    def test_cuts_attributes(self, redactor):
        """Only so many attributes are kept."""
        assert len(redactor.attributes({f"k{n}": n for n in range(10_000)})) == 128

    def test_cuts_containers(self, redactor):
        """Only so many items and levels are kept."""
        assert redactor.value("v", list(range(1_000_000))) == list(range(64))
        assert redactor.value("v", [[[[[1]]]]]) == [[[["[too deep]"]]]]

    def test_bounds_the_whole(self, redactor):
        """Many bounded values do not add up to an unbounded one."""
        wide = [[["x" * 1000] * 64] * 64] * 64
        found = redactor.attributes({str(n): wide for n in range(128)})
        assert len(json.dumps(found)) < 100_000

    def test_stops_at_cycles(self, redactor):
        """A container within itself ends there; one met twice is shown twice."""
        cycle = {"a": 1}
        cycle["self"] = cycle
        shared = [1]
        assert redactor.value("v", cycle) == {"a": 1, "self": "[cycle]"}
        assert redactor.value("v", [shared, shared]) == [[1], [1]]

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (math.nan, "NaN"),
            (math.inf, "Infinity"),
            (-math.inf, "-Infinity"),
            (2**63 - 1, 2**63 - 1),
            (-(2**63), -(2**63)),
            (2**63, "9223372036854775808"),
            pytest.param(10**10_000, "<int of 33220 bits>", id="huge"),
            (b"caf\xc3\xa9 \xff", "café \\xff"),
            (bytearray(b"x"), "x"),
            (Decimal("1.5"), "1.5"),
            (PurePosixPath("/a/b"), "/a/b"),
            ((1, 2), [1, 2]),
            (frozenset([1]), [1]),
            (OrderedDict(a=1), {"a": 1}),
            (MappingProxyType({"a": 1}), {"a": 1}),
            ({1: "x", None: "y"}, {"1": "x", "None": "y"}),
            (object(), "<object>"),
            (1j, "1j"),
        ],
    )
    def test_makes_values_plain(self, redactor, value, expected):
        """Every value becomes what JSON can say."""
        assert redactor.value("v", value) == expected

    def test_makes_subclasses_plain(self, redactor):
        """Subclasses of plain classes become the plain class."""

        class Level(int, Enum):
            HIGH = 3

        class Celsius(float):
            pass

        found = redactor.attributes({"level": Level.HIGH, "t": Celsius(1.5), "s": LyingText("x")})
        assert found == {"level": 3, "t": 1.5, "s": "x"}
        assert [type(value) for value in found.values()] == [int, float, str]

    def test_makes_numbers_of_numpy_plain(self, redactor):
        """A scalar that looks like numpy's becomes its number, an array a short text."""
        scalar = type("float32", (), {"__module__": "numpy", "ndim": 0, "item": lambda self: 1.5})
        array = type("ndarray", (), {"__module__": "numpy", "ndim": 1, "__repr__": lambda s: "[1]"})
        odd = type("str_", (), {"__module__": "numpy", "ndim": 0, "item": lambda self: "x"})
        assert redactor.value("v", [scalar(), array(), odd()]) == [1.5, "[1]", "x"]

    def test_never_consumes_generators(self, redactor):
        """An iterator given as an attribute still has all its items."""
        items = iter([1, 2, 3])
        generator = (item for item in items)
        redactor.attributes({"g": generator, "i": items})
        assert list(generator) == [1, 2, 3]

    def test_takes_mappings_that_are_no_dict(self, redactor):
        """Any mapping serves as attributes."""
        assert redactor.attributes(UserDict(a=1, password="x")) == {
            "a": 1,
            "password": "[redacted]",
        }
        assert redactor.attributes(None) == {}
        assert redactor.attributes([1]) == {"value": [1]}

    @pytest.mark.parametrize(
        ("reason", "spend"),
        [
            ("name", lambda redactor: redactor.name("x y" * 1000)),
            ("text", lambda redactor: redactor.text("x" * 2000)),
            (
                "attributes",
                lambda redactor: redactor.attributes(dict.fromkeys(map(str, range(129)))),
            ),
            ("items", lambda redactor: redactor.value("v", list(range(65)))),
            ("depth", lambda redactor: redactor.value("v", [[[[[1]]]]])),
            ("unprintable", lambda redactor: redactor.value("v", Hostile())),
        ],
    )
    def test_counts_cuts(self, redactor, reason, spend):
        """Whatever is cut is counted, by reason."""
        before = cuts().get(reason, 0)
        spend(redactor)
        assert cuts()[reason] == before + 1

    def test_counts_cycles(self, redactor):
        """A cycle cut short is counted."""
        before = cuts().get("cycle", 0)
        cycle = []
        cycle.append(cycle)
        assert redactor.value("v", cycle) == ["[cycle]"]
        assert cuts()["cycle"] == before + 1


class TestHosts:
    """Hosts are names, not addresses with credentials."""

    @pytest.mark.parametrize(
        ("given_host", "expected"),
        [
            ("db.example.com", "db.example.com"),
            ("db.example.com:5432", "db.example.com:5432"),
            (f"https://user:{SECRET}@api.example.com:8443/v1?key={SECRET}", "api.example.com"),
            (f"user:{SECRET}@db", "db"),
            ("api.example.com/path", "api.example.com"),
            ("::1", "::1"),
            ("http://[::1]:80/", "::1"),
            (b"bytes.example.com", "bytes.example.com"),
            ("a\nb", "a\\nb"),
            (" spaced ", "spaced"),
            ("", ""),
        ],
    )
    def test_strips_all_but_the_host(self, redactor, given_host, expected):
        """Scheme, user information, path and query are dropped."""
        assert redactor.host(given_host) == expected


class TestErrors:
    """The texts of exceptions."""

    def test_says_what_the_error_says(self, redactor):
        """An ordinary error's text is taken as it is."""
        assert redactor.error_text(ValueError("bad input")) == "bad input"

    def test_hides_secrets_of_errors(self, redactor):
        """An error's text is a text like any other."""
        assert redactor.error_text(ValueError("password=x")) == "password=[redacted]"

    @pytest.mark.parametrize("answer", [1, None, b"x"])
    def test_survives_a_str_that_answers_nonsense(self, redactor, answer):
        """`__str__` may return what is no string."""
        error = type("Odd", (Exception,), {"__str__": lambda self: answer})()
        assert redactor.error_text(error) == "<unprintable Odd>"

    @pytest.mark.parametrize("raised", [ValueError, MemoryError, GeneratorExit, BaseException])
    def test_survives_a_str_that_raises(self, redactor, raised):
        """`__str__` may raise."""

        def fail(self):
            raise raised

        error = type("Odd\nOne", (Exception,), {"__str__": fail})()
        assert redactor.error_text(error) == "<unprintable Odd\\nOne>"

    def test_survives_a_str_without_end(self, redactor):
        """`__str__` may recurse to the limit."""

        class EndlessError(Exception):
            def __str__(self):
                return str(self)

        assert redactor.error_text(EndlessError()) == "<unprintable EndlessError>"

    @pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
    def test_lets_interrupts_pass(self, redactor, raised):
        """A Ctrl-C or a signal's exit that arrives meanwhile belongs to the program."""

        class InterruptingError(Exception):
            def __str__(self):
                raise raised

        for ask in (redactor.error_text, redactor.text, redactor.name):
            with pytest.raises(raised):
                ask(InterruptingError())
        with pytest.raises(raised):
            redactor.value("v", InterruptingError())

    def test_survives_near_the_recursion_limit(self, redactor):
        """With little stack left, the answer is a placeholder or right, never an exception."""

        def down(depth):
            if depth:
                return down(depth - 1)
            return redactor.error_text(ValueError("password=x"))

        redactor.error_text(ValueError("password=x"))
        answers = set()
        for depth in range(200):
            try:
                answers.add(down(sys.getrecursionlimit() - depth - 40))
            except RecursionError:
                continue
        assert answers <= {"password=[redacted]", "<unprintable text>"}
        assert "password=[redacted]" in answers


class TestHostileObjects:
    """Whatever an object's class does, the program sees none of it."""

    def test_replaces_hostile_values(self, redactor):
        """A value that raises becomes a placeholder that names its class."""
        assert redactor.value("v", Hostile()) == "<unprintable Hostile>"
        assert redactor.value("v", [Hostile()]) == ["<unprintable Hostile>"]

    def test_reads_around_overrides(self, redactor):
        """Subclasses are read by the plain class's own methods."""
        assert redactor.value("v", LyingText("x")) == "x"
        assert redactor.value("v", LyingDict(password=SECRET)) == {"password": "[redacted]"}
        assert redactor.value("v", LyingList([1])) == [1]
        assert redactor.attributes(LyingDict(a=1)) == {"a": 1}

    def test_survives_hostile_keys(self, redactor):
        """A key may raise, too."""

        class Key:
            def __hash__(self):
                return 1

            def __str__(self):
                raise ValueError

        assert redactor.attributes({Key(): 1}) == {"<unprintable Key>": 1}

    def test_survives_hostile_mappings(self, redactor):
        """A mapping may fail half-way: what was read is kept."""

        class Half(UserDict):
            def __getitem__(self, key):
                if key == "b":
                    raise ValueError
                return 1

        assert redactor.attributes(Half(a=1, b=2)) == {"a": 1}

    def test_survives_hostile_classes(self, redactor):
        """Even the class of an object may raise."""

        class Meta(type):
            def __getattribute__(cls, name):
                raise ValueError(name)

        value = Meta("Odd", (), {})()
        assert redactor.value("v", value) == "<unprintable Odd>"
        assert redactor.error_text(value) == "<unprintable Odd>" or "Odd" in redactor.error_text(
            value
        )


class TestSettings:
    """Set-up mistakes raise at once and name the way out."""

    @pytest.mark.parametrize(
        ("settings", "kind", "says"),
        [
            (
                {"keys": "password"},
                TypeError,
                "keys must be a list of strings: write keys=['password']",
            ),
            ({"allow": "password"}, TypeError, "write allow=['password']"),
            ({"keys": [""]}, ValueError, "keys must hold words"),
            ({"keys": [1]}, ValueError, "not 1"),
            ({"patterns": r"\d"}, TypeError, "must be a list of regular expressions"),
            ({"patterns": ["("]}, ValueError, "'(' is not one"),
            ({"patterns": [re.compile(b"x")]}, ValueError, "regular expressions for text"),
            ({"patterns": [3]}, ValueError, "3 is not one"),
            ({"replacement": "a\nb"}, ValueError, "one short printable line"),
            ({"replacement": ""}, ValueError, "one short printable line"),
            ({"replacement": None}, ValueError, "one short printable line"),
            ({"max_text": 3}, ValueError, "max_text must be a whole number of at least 16"),
            ({"max_depth": True}, ValueError, "max_depth must be a whole number"),
        ],
    )
    def test_refuses_wrong_settings(self, settings, kind, says):
        """A setting that cannot work is refused with what to write instead."""
        with pytest.raises(kind, match=re.escape(says)):
            Redactor(**settings)

    def test_takes_iterators(self):
        """The lists of rules may be any iterable, once."""
        redactor = Redactor(keys=iter(["abc"]), allow=iter(["pin"]), patterns=iter(["x+"]))
        assert redactor.attributes({"abc": 1, "pin": 2, "z": "yxx"}) == {
            "abc": "[redacted]",
            "pin": 2,
            "z": "y[redacted]",
        }

    def test_is_swapped_for_the_process(self):
        """`set_redactor` returns the one it replaces."""
        mine = Redactor(keys=["mine"])
        previous = set_redactor(mine)
        try:
            assert get_redactor() is mine
        finally:
            assert set_redactor(previous) is mine
        assert get_redactor() is previous

    def test_refuses_another_class(self):
        """Only a Redactor can be the rule."""
        with pytest.raises(TypeError, match="set_redactor needs a Redactor"):
            set_redactor(lambda text: text)
        assert isinstance(_redaction.get_redactor(), Redactor)

    def test_travels_to_other_processes(self):
        """Pickling keeps every rule and bound."""
        redactor = Redactor(["mine"], [r"\d+"], ["pin"], "***", max_name=50, enabled=True)
        copy = pickle.loads(pickle.dumps(redactor))
        given = {"mine": "a", "pin": "b", "n": "call 555", "x" * 100: 1}
        assert copy.attributes(given) == redactor.attributes(given)

    def test_shows_no_rule(self):
        """Its repr tells how many rules there are, not which."""
        shown = repr(Redactor(keys=["codename_x"], patterns=["secretpattern"]))
        assert shown == "<Redactor: 1 keys, 1 patterns, 0 allow added; max_name=200, max_text=1024>"


class Steps:
    """Counts lines of Python run by the hiding code: a cost that no busy machine changes."""

    def __init__(self):
        self.count = 0

    def __enter__(self):
        self._outer = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def _trace(self, frame, event, arg):
        self.count += 1
        return self._trace

    def __exit__(self, *error):
        sys.settrace(self._outer)


ADVERSARIAL = {
    "no space": "a",
    "keys": "a:",
    "secret keys": "password:",
    "quotes": "password='",
    "backslashes": "\\",
    "escaped quotes": 'token=\\"',
    "brackets": "token=[",
    "closed brackets": "token=[(",
    "at": "a@",
    "urls": "http://",
    "userinfo": "a:b@",
    "queries": "?a=b&",
    "flags": "--token ",
    "dashes": "-",
    "pem": "-----BEGIN PRIVATE KEY-----",
    "pem without end": "-----BEGIN PRIVATE KEY----- ",
    "elements": "<password>",
    "jwt": "eyJabcdefgh.",
    "sk": "sk-",
    "bearer": "Bearer ",
    "spaces": "password" + " " * 50,
    "semicolons": "cookie=a;",
    "colons": "://:",
    "words": "api key api ",
}


class TestCost:
    """The time it takes grows with the text's length, not faster."""

    @pytest.mark.parametrize("piece", ADVERSARIAL.values(), ids=ADVERSARIAL)
    def test_looks_at_a_window_only(self, redactor, piece):
        """A text of a megabyte is looked at for a few thousand characters."""
        found = redactor.text(piece * (1_000_000 // len(piece)))
        assert len(found) <= 1024
        with Steps() as small:
            redactor.text(piece * (5_000 // len(piece)))
        with Steps() as large:
            redactor.text(piece * (1_000_000 // len(piece)))
        assert large.count <= small.count * 2

    @pytest.mark.parametrize("piece", ADVERSARIAL.values(), ids=ADVERSARIAL)
    def test_steps_grow_with_length(self, piece):
        """Twice the text takes about twice the steps, even with the window wide open."""
        redactor = Redactor(max_text=1_000_000)
        counts = []
        for size in (8_000, 32_000):
            with Steps() as steps:
                redactor.text(piece * (size // len(piece)))
            counts.append(steps.count)
        assert counts[1] <= counts[0] * 5

    def test_a_plain_text_takes_no_patterns(self, redactor, monkeypatch):
        """A text without any sign of a secret never meets a regular expression."""
        monkeypatch.setattr("volnux.telemetry._secrets._pattern", lambda source: 1 / 0)
        for text in ("hello world", "connection refused", "step 4 of 5: loading"):
            assert redactor.text(text) == text


ANY_TEXT = st.text(st.characters(codec=None)) | st.text(
    st.sampled_from(list("aA1 :=&?@/'\"\\[](){}<>,;.-_\n\t\r\x00\ud800…")), max_size=60
)
PIECES = st.sampled_from(
    [template.format(SECRET) for template in TEXTS]
    + [*SHAPES, *PLAIN_TEXTS, *ADVERSARIAL.values(), "[redacted]", "…[cut]", " ", "\n", ", "]
)
MIXED_TEXT = st.lists(PIECES | ANY_TEXT, max_size=12).map("".join)
ANY_KEY = ANY_TEXT | st.integers() | st.binary() | st.none()
ANY_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | ANY_TEXT
    | st.binary()
    | st.decimals()
    | st.builds(Hostile)
    | st.builds(object)
    | st.builds(LyingText, ANY_TEXT)
    | st.integers(2**60, 2**300),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.lists(inner).map(LyingList)
        | st.dictionaries(ANY_TEXT | st.integers() | st.binary() | st.none(), inner)
        | st.dictionaries(ANY_TEXT, inner).map(LyingDict)
    ),
    max_leaves=30,
)


class TestProperties:
    """What holds for any input whatever."""

    @given(MIXED_TEXT)
    def test_texts_are_bounded_stable_and_encodable(self, text):
        """Any text comes out short, encodable, and unchanged by a second pass."""
        redactor = Redactor(max_text=200)
        found = redactor.text(text)
        assert len(found) <= 200
        found.encode("utf-8")
        assert redactor.text(found) == found

    @given(MIXED_TEXT)
    def test_names_are_bounded_stable_lines(self, text):
        """Any name comes out as one short line, unchanged by a second pass."""
        redactor = Redactor()
        found = redactor.name(text)
        assert len(found) <= 200
        assert len(found.splitlines()) <= 1
        assert found.isprintable() or not found.isascii()
        found.encode("utf-8")
        assert redactor.name(found) == found

    @given(st.dictionaries(ANY_KEY, ANY_VALUE, max_size=4))
    def test_attributes_are_plain(self, mapping):
        """Any attributes come out as something JSON can write, and small."""
        found = Redactor().attributes(mapping)
        text = json.dumps(found, allow_nan=False, ensure_ascii=False)
        assert len(text.encode("utf-8")) < 1_000_000
        assert json.loads(text) == found

    @given(ANY_VALUE, ANY_TEXT)
    def test_nothing_raises(self, value, key):
        """Every question is answered, whatever it is about."""
        redactor = Redactor()
        for answer in (
            redactor.name(value),
            redactor.host(value),
            redactor.text(value),
            redactor.error_text(value),
        ):
            assert type(answer) is str
        json.dumps(redactor.value(key, value), allow_nan=False)

    @given(st.sampled_from(TEXTS), MIXED_TEXT, MIXED_TEXT)
    @example("host=db password='{} with space' dbname=app", "password='", "")
    @example('"{{\\"token\\": \\"{}\\"}}"', 'token=\\"', "")
    @example("password='{}'", "password='" * 60, "")
    def test_secrets_are_hidden_in_any_company(self, template, before, after):
        """A secret stays hidden whatever lines stand around it."""
        text = f"{before}\n\n{template.format('zQ9planted')}\n\n{after}"
        assert "zQ9planted" not in Redactor(max_text=10_000).text(text)
