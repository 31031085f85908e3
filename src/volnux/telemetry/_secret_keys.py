"""Which keys name a secret: pure functions."""

# ruff: noqa: SIM905  # words in a row are easier to read than one to a line

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_SECRET_WORDS: Final = frozenset(
    "password passwords passwd pwd passphrase passcode pw secret secrets token tokens credential credentials cred "
    "creds authorization bearer jwt cookie cookies signature sig session sessions sessid phpsessid jsessionid dsn "
    "otp totp pin pincode cvv cvc ssn csrf xsrf sid apikey apikeys accesskey connstr".split()
)
# Written without separators they still give themselves away, inside any longer word.
_SECRET_PARTS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "connectionstring",
    "sessionid",
    "setcookie",
)
_SECRET_ENDS: Final = ("token", "pwd", "cookie")
# Secret only as the last word: `basic_auth`, `db_pass`; not `auth_method`, `pass_rate`.
_SECRET_LAST: Final = frozenset({"auth", "pass"})
_KEY_OWNERS: Final = frozenset(
    "api access private secret encryption signing master account shared subscription license auth app ssh rsa gpg "
    "pgp client session deploy consumer write".split()
)
_PAIRS: Final = frozenset(
    {
        ("connection", "string"),
        ("connection", "str"),
        ("conn", "string"),
        ("conn", "str"),
        ("session", "id"),
        ("auth", "header"),
        ("credit", "card"),
        ("card", "number"),
        ("security", "code"),
        ("verification", "code"),
        ("recovery", "code"),
        ("recovery", "codes"),
        ("mfa", "code"),
        ("access", "code"),
        ("auth", "code"),
    }
)
# A last (or first) word that makes the rest a description of a secret instead of one.
_ABOUT_LAST: Final = frozenset(
    "count counts length len size type types kind name names field fields policy algorithm alg method expiry expires "
    "expired expiration ttl age timeout duration lifetime limit limits usage used budget rate ratio total url uri "
    "endpoint path file filename dir version status provider valid required enabled created updated changed rotated "
    "at in time seconds ms issuer scope scopes strength memory second minute".split()
)
_ABOUT_FIRST: Final = frozenset("max min num n total count avg mean has is".split())
_INNOCENT: Final = frozenset(
    {"secretary", "secretariat", "secretaries", "secretion", "passwordless"}
)
# Plurals that are counts as often as secrets: a number under them is a count.
_COUNTABLE: Final = frozenset(
    {"tokens", "sessions", "cookies", "secrets", "passwords", "credentials", "pass", "sig"}
)


def words_of(key: str) -> list[str]:
    """Split a key at separators and at camelCase humps, in lower case, digits at a word's end dropped."""
    words: list[str] = []
    start = 0
    size = len(key)
    for index in range(size + 1):
        here = key[index] if index < size else " "
        if not here.isalnum():
            words.append(key[start:index])
            start = index + 1
        elif index > start and here.isupper():
            follows = index + 1 < size and key[index + 1].islower()
            if key[index - 1].islower() or (key[index - 1].isupper() and follows):
                words.append(key[start:index])
                start = index
    return [bare for word in words if (bare := word.lower().strip("0123456789"))]


def is_secret_key(key: str) -> bool:
    """Tell whether a value under this key is to be hidden: case and separators do not matter."""
    words = words_of(key)
    if not words:
        return False
    if words[-1] in _SECRET_LAST or _is_secret_pair(words[-2:]):
        return True
    if len(words) > 1 and (words[-1] in _ABOUT_LAST or words[0] in _ABOUT_FIRST):
        return False
    if any(_is_secret_word(word) for word in words):
        return True
    return any(_is_secret_pair(words[index : index + 2]) for index in range(len(words) - 1))


def is_count_key(key: str) -> bool:
    """Tell whether a number under this secret key is a count, as in `prompt_tokens`."""
    words = words_of(key)
    return (
        bool(words)
        and not _COUNTABLE.isdisjoint(words)
        and not any(_is_secret_word(word) for word in words if word not in _COUNTABLE)
    )


def _is_secret_word(word: str) -> bool:
    if word in _SECRET_WORDS:
        return True
    if word in _INNOCENT:
        return False
    return word.endswith(_SECRET_ENDS) or any(part in word for part in _SECRET_PARTS)


def _is_secret_pair(pair: list[str]) -> bool:
    first, second = pair if len(pair) > 1 else ("", "")
    return (second in ("key", "keys") and first in _KEY_OWNERS) or (first, second) in _PAIRS
