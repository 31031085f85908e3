"""Where a text holds a secret: pure functions, whose cost grows with the text's length only."""

# ruff: noqa: SIM905  # words in a row are easier to read than one to a line

from __future__ import annotations

from volnux.telemetry._secret_keys import is_count_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable
    from typing import Final

    IsSecret = Callable[[str], bool]

_HINTS: Final = (
    "pass",
    "pwd",
    "pw",
    "secret",
    "token",
    "key",
    "auth",
    "cookie",
    "sess",
    "cred",
    "bearer",
    "jwt",
    "sig",
    "dsn",
    "conn",
    "otp",
    "pin",
    "cvv",
    "cvc",
    "ssn",
    "csrf",
    "xsrf",
    "sid",
    "code",
    "card",
)
_PLAIN_VALUES: Final = frozenset(
    {"none", "null", "true", "false", "str", "bytes", "int", "bool", "undefined"}
)
_NOT_BEARERS: Final = frozenset(
    "token tokens auth authentication authorization scheme realm error is was not or and format header headers key "
    "type for of in has must should missing invalid expired required".split()
)
_SHORTEST_BASIC: Final = 8
_SCHEMES: Final = frozenset({"bearer", "basic", "token", "negotiate", "apikey", "ntlm"})

_SOLID_STARTS: Final = ("eyJ", "AKIA", "ASIA", "AIza", "EAA")
_STARTS: Final = (
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "glc_", "glsa_", "sk-", "sk_", "rk_",
    "whsec_", "xox", "xapp-", "ya29.", "npm_", "pypi-", "hf_", "dop_v1_", "SG.", "hvs.",
    "shpat_", "dckr_pat_", "lin_api_", "tskey-", "NRAK-", "sq0", "AGE-SECRET", "hooks.slack.com", "/webhooks/",
    "/bot", "gsk_", "r8_", "pat-", "nvapi-", "hvb.",
)  # fmt: skip
_SHAPES: Final = (
    r"(?<![A-Za-z0-9])(?:"
    r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}"
    r"|gh[pousr]_[A-Za-z0-9]{10,}|github_pat_\w{10,}|glpat-[\w-]{10,}|gl(?:c|sa)_[\w=+-]{10,}"
    r"|sk-(?=[A-Za-z_-]{0,64}[0-9])[\w-]{16,}|sk-(?:ant|proj|or)-[\w-]{8,}|[sr]k_(?:live|test)_\w{8,}|whsec_[\w+/=]{8,}"
    r"|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}|A(?:KIA|SIA)[A-Z0-9]{12,}|AIza[\w-]{20,}|ya29\.[\w-]{10,}"
    r"|npm_[A-Za-z0-9]{16,}|pypi-[\w-]{16,}|hf_[A-Za-z0-9]{16,}|dop_v1_[0-9a-f]{16,}|SG\.[\w-]{10,}\.[\w-]{10,}"
    r"|hv[sb]\.[\w-]{16,}|shp(?:at|ca|pa|ss)_[\w]{16,}|dckr_pat_[\w-]{10,}|lin_api_\w{16,}|tskey-[\w-]{10,}"
    r"|NRAK-\w{10,}|sq0[a-z]{3}-[\w-]{10,}|AGE-SECRET-KEY-\w{10,}|EAA[A-Za-z0-9]{24,}|gsk_\w{16,}|r8_\w{20,}"
    r"|nvapi-[\w-]{16,}|pat-[a-z]{2}\d-[\w-]{16,})"
)
_WEBHOOKS: Final = r"(hooks\.slack\.com/(?:services|workflows)/|/api/webhooks/|api\.telegram\.org/bot)(?!\[)[^\s\"'<>?#]{1,512}"

_compiled: dict[str, re.Pattern[str]] = {}

#: Secrets in what another one's quotes enclose; where there are more, all the rest is hidden.
_MOST_INSIDE = 50


def _pattern(source: str) -> re.Pattern[str]:
    """Return the compiled pattern; `re` is imported by the first text that needs it."""
    found = _compiled.get(source)
    if found is None:
        import re

        found = _compiled[source] = re.compile(source)
    return found


def hide(text: str, mask: str, is_secret: IsSecret, hints: tuple[str, ...] = ()) -> str:
    """Return the text with every secret found in it replaced by `mask`; the cost grows with its length only."""
    if "-----BEGIN" in text:
        text = _hide_pem(text, mask)
    if "@" in text:
        text = _hide_userinfo(text, mask)
    if "?" in text or "#" in text:
        text = _hide_queries(text, mask)
    low = text.lower()
    if ("=" in text or ":" in text or "," in text or "--" in text or "</" in text) and (
        _has_any(low, _HINTS) or _has_any(low, hints)
    ):
        text = _hide_pairs(text, mask, is_secret)
        if "--" in text:
            text = _hide_flags(text, mask, is_secret)
        if "</" in text:
            text = _hide_elements(text, mask, is_secret)
    if "bearer" in low or "basic" in low:
        text = _hide_schemes(text, mask)
    if _has_any(text, _SOLID_STARTS) or (_has_any(text, "_-./") and _has_any(text, _STARTS)):
        text = _pattern(_SHAPES).sub(lambda _: mask, text)
        text = _pattern(_WEBHOOKS).sub(lambda found: found[1] + mask, text)
    return text


def _has_any(text: str, parts: Iterable[str]) -> bool:
    # A plain loop: this runs for every text, and any() with a generator takes twice as long.
    for part in parts:  # noqa: SIM110
        if part in text:
            return True
    return False


def _hide_pem(text: str, mask: str) -> str:
    out: list[str] = []
    last = 0
    for found in _pattern(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,8}-----").finditer(text):
        if found.start() < last:
            continue
        out += (text[last : found.start()], mask)
        end = _pattern(r"-----END [A-Z0-9 ]{1,60}-----").search(text, found.end())
        last = end.end() if end else len(text)
        if end is None:
            break
    return "".join((*out, text[last:]))


def _hide_userinfo(text: str, mask: str) -> str:
    def url(found: re.Match[str]) -> str:
        rest = found[2]
        # In a database's address a path holds no "@"; a password with an unescaped slash and "@" may.
        authority = _pattern(
            r"[^/?#\\]*" if found[1].lower().startswith("http") else r"[^?#]*"
        ).match(rest)
        end = rest.rfind("@", 0, authority.end() if authority else 0)
        if end < 0:
            # An unescaped slash in the password: what looks like the port is no number.
            host, colon, port = (authority[0] if authority else "").rpartition(":")
            if not colon or port.isdigit() or host.startswith("["):
                return found[0]
            end = rest.rfind("@")
        return found[0] if end < 0 else f"{found[1]}{mask}{rest[end:]}"

    text = _pattern(r"""([A-Za-z][A-Za-z0-9+.-]{0,31}://)([^\s"'<>`]+)""").sub(url, text)
    return _pattern(
        r"""(?<![\w.+/\]:-])(?!mailto:)[\w.+-]{1,64}:(?!//)[^\s:/@"'<>]{1,128}@(?=[\w\[])"""
    ).sub(lambda _: mask + "@", text)


def _hide_queries(text: str, mask: str) -> str:
    def query(found: re.Match[str]) -> str:
        pairs = _pattern(r"[&;]").split(found[2])
        marks = _pattern(r"[&;]").findall(found[2])
        hidden = [_hide_query_value(pair, mask) for pair in pairs]
        return found[1] + "".join(
            part + mark for part, mark in zip(hidden, [*marks, ""], strict=True)
        )

    return _pattern(r"""([?#])([^\s"'<>`?#=]{1,256}=[^\s"'<>`#]*)""").sub(query, text)


def _hide_query_value(pair: str, mask: str) -> str:
    key, equals, value = pair.partition("=")
    bare = value.rstrip(").,:")
    return f"{key}={mask}{value[len(bare) :]}" if equals and bare else pair


def _hide_pairs(text: str, mask: str, is_secret: IsSecret) -> str:
    """Hide the values of `key=value`, `key: value`, `"key": "value"`, `('key', 'value')`."""
    spans: list[tuple[int, int]] = []
    floor = last = inside = 0
    for found in _pattern(r"""=>|:=|==?|:|["'],""").finditer(text):
        if found.start() < floor:
            continue
        key, before = _key_before(text, found.start(), floor)
        if not key or not (is_secret(key) or _is_spaced_key(text, before, key, is_secret)):
            continue
        if found[0][0] in "\"'" and not (text[before - 2 : before - 1] == "(" or text[before - 3 : before - 1] == "(b"
                                         or key.startswith("--")):  # fmt: skip
            continue
        start = _pattern(r"[ \t]{0,8}").match(text, found.end()).end()  # type: ignore[union-attr]
        start, end = _value_span(text, start, key)
        if end > start and not _is_harmless(text[start:end], key):
            inside += start < last
            if inside > _MOST_INSIDE:
                end = len(text)
            spans.append((start, end))
            # A quote may be that of the next value, in a text that was cut: look inside, too.
            floor = start if text[start - 1] in "\"'" else max(floor, end)
            last = max(last, end)
    return _mask_spans(text, spans, mask)


def _mask_spans(text: str, spans: list[tuple[int, int]], mask: str) -> str:
    """Put the mask in place of spans, one for all that overlap; they come ordered by start."""
    out: list[str] = []
    last = 0
    for start, end in spans:
        if not out or start > last:
            out += (text[last:start], mask)
        last = max(last, end)
    return "".join((*out, text[last:]))


def _key_before(text: str, at: int, floor: int) -> tuple[str, int]:
    """Return the key that ends before the separator at `at`, and where it starts."""
    floor = max(floor, at - 80)
    while at > floor and text[at - 1] in " \t":
        at -= 1
    while at > floor and text[at - 1] in "\"']\\":
        at -= 1
    end = at
    while at > floor and (text[at - 1].isalnum() or text[at - 1] in "_-."):
        at -= 1
    return text[at:end], at


def _is_spaced_key(text: str, before: int, key: str, is_secret: IsSecret) -> bool:
    """Judge `api key` and `connection string`, whose last word alone says nothing."""
    if (
        key.lower() not in ("key", "keys", "string", "id", "code", "number")
        or text[before - 1 : before] != " "
    ):
        return False
    previous, _ = _key_before(text, before - 1, 0)
    return bool(previous) and is_secret(f"{previous}_{key}")


def _value_span(text: str, start: int, key: str) -> tuple[int, int]:
    """Return where the secret part of a value starts and ends, its quotes left outside."""
    if text.startswith("//", start):
        return start, start
    opening = _pattern(r"""[bruBRU]{0,2}(\\{0,3}["'])""").match(text, start)
    if opening:
        return opening.end(), _closing_quote(text, opening.end(), opening[1])
    lowered = key.lower()
    if lowered.endswith("cookie"):
        return start, _end(r"[^\s;]*(?:;[ \t]{0,4}[^\s;]+)*", text, start)
    if lowered.endswith(("authorization", "auth")):
        word = _pattern(r"([A-Za-z]+)[ \t]+").match(text, start)
        if word:
            simple = word[1].lower() in _SCHEMES
            return start, _token_end(text, word.end()) if simple else _end(r"[^\r\n]*", text, start)
    end = start
    if text[start : start + 1] in ("[", "(", "{"):
        end = _closing_bracket(text, start)
    return start, end if end > start and not text[end : end + 1].isalnum() else _token_end(
        text, end
    )


def _end(source: str, text: str, start: int) -> int:
    found = _pattern(source).match(text, start)
    return found.end() if found else start


def _token_end(text: str, start: int) -> int:
    end = _end(r"[^\s&]*", text, start)
    while end > start and text[end - 1] in ",;.:)}]>\"'\\":
        end -= 1
    return end


def _closing_quote(text: str, start: int, quote: str) -> int:
    if len(quote) > 1:
        end = text.find(quote, start)
        return len(text) if end < 0 else end
    body = r'(?:[^"\\]|\\.)*' if quote == '"' else r"(?:[^'\\]|\\.)*"
    return _end("(?s:" + body + ")", text, start)


def _closing_bracket(text: str, start: int) -> int:
    depth = 0
    skip = start
    for found in _pattern(r"""[\[({})\]"']""").finditer(text, start):
        if found.start() < skip:
            continue
        mark = found[0]
        if mark in "\"'":
            skip = _closing_quote(text, found.end(), mark) + 1
        else:
            depth += 1 if mark in "[({" else -1
            if depth == 0:
                return found.end()
    return len(text)


def _is_harmless(value: str, key: str) -> bool:
    bare = value.strip("'\"").lower()
    return not bare or bare in _PLAIN_VALUES or (bare.isdecimal() and is_count_key(key))


def _hide_flags(text: str, mask: str, is_secret: IsSecret) -> str:
    """Hide the values of `--password value` and of `'--password', 'value'`."""

    def flag(found: re.Match[str]) -> str:
        return found[1] + found[3] + mask if is_secret(found[2]) else found[0]

    text = _pattern(r"""((?<![\w-])--([\w-]{1,64}))([ \t]{1,8})(?![-\[])[^\s"']{1,1024}""").sub(
        flag, text
    )
    return _pattern(r"""((?<![\w-])--([\w-]{1,64}))(["'],\s{0,8}["'])[^"']{1,1024}""").sub(
        flag, text
    )


def _hide_elements(text: str, mask: str, is_secret: IsSecret) -> str:
    """Hide the content of XML elements: `<password>value</password>`."""

    def element(found: re.Match[str]) -> str:
        return found[1] + mask if is_secret(found[2]) else found[0]

    return _pattern(r"(<([\w:.-]{1,64})>)[^<]{1,4096}(?=</)").sub(element, text)


def _hide_schemes(text: str, mask: str) -> str:
    """Hide what follows `Bearer` and `Basic` where no header name announces it."""

    def scheme(found: re.Match[str]) -> str:
        token = found[2]
        if found[1][:2].lower() == "be":
            innocent = token.lower().rstrip(".") in _NOT_BEARERS
        else:
            innocent = len(token) < _SHORTEST_BASIC or (token[1:].islower() and token.isalpha())
        return found[0] if innocent else found[1] + mask

    return _pattern(r"((?<!\w)(?:[Bb]earer|[Bb]asic|BEARER|BASIC)[ \t]{1,8})([\w.~+/=-]{3,})").sub(
        scheme, text
    )
