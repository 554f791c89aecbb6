"""How secrets look in texts: what `[forward.redact]` finds with `defaults = true`.

Invariants: every search takes time linear in the text's length (each repetition is bounded, or begins where the one
before it cannot have been), because a record may have 64 MiB and come from a stranger; a pattern is only tried on a
text that has one of its hints, which makes the usual text, with none, cheap.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator

KEYS = (
    "*authorization*", "*cookie*", "*password*", "*passwd*", "*passphrase*", "pwd", "*.pwd", "*_pwd", "*secret*",
    "*token", "*_token_*", "*-token-*", "*api_key*", "*api-key*", "*apikey*", "*api.key*", "*access_key*",
    "*access-key*", "*accesskey*", "*private_key*", "*private-key*", "*privatekey*", "*credential*", "*e-mail*",
    "*email*", "*card_number*", "*card-number*", "*card.number*", "*cardnumber*", "*credit_card*", "*credit-card*",
    "*creditcard*", "cvv", "*.cvv", "*_cvv", "cvc", "*.cvc", "*_cvc", "*iban", "ssn", "*.ssn", "*_ssn",
    "*x-amz-security-*", "*csrf*", "*xsrf*", "*jsessionid*", "*phpsessid*",
)  # fmt: skip
"""Attributes whose value is secret, whatever it looks like: patterns in lower case."""

_NAMES = (
    r"(?:pass(?:word|wd|phrase)|pwd|secret|token|(?:api|access|private|secret|account|shared)[_-]?key|signature"
    r"|credentials?|sess(?:ion)?[_-]?id)"
)
_NAME_HINTS = ("pass", "pwd", "secret", "token", "key", "signature", "credential", "sess")
_REST = (
    r"""[\\"']{0,4}[ \t]{0,8}(?::=|[:=-]>|[:=>]|%%3[ADad])[ \t\[({]{0,8}\\{0,3}"""
    r"""(?:"(?P<secret>[^"\r\n]+)|'(?P<secret2>[^'\r\n]+)|(?P<secret3>%s))"""
)
"""What follows a name: quotes, an operator, brackets, and the secret; also in JSON, queries and XML within a text."""
_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]*")
_LONGEST = 64
"""Characters of the local part of an address (RFC 5321, 4.5.3.1): of a longer one the last are taken."""


class Pattern:
    """One kind of secret.

    `hints`: lower-case strings of which a text that has such a secret has at least one; without any, every text is
    searched. `plain`: characters that a text of nothing but letters and digits needs to have such a secret; 0: it has
    none. `valid` is asked about what was found, where the look alone is not enough. `before`: the secret also has
    characters of this kind in front, at least one.
    """

    def __init__(
        self, expression: str, *hints: str, plain: int = 0, valid: Callable[[str], bool] = lambda _: True,
        before: re.Pattern[str] | None = None,
    ) -> None:  # fmt: skip
        self.hints = hints
        self.plain = plain
        self._valid = valid
        self._before = before
        self._expression = re.compile(expression)
        self._groups = tuple(name for name in self._expression.groupindex if name.startswith("secret"))

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Beginning and end of each secret: of the group that is called so, else of the whole match."""
        for found in self._expression.finditer(text):
            group = next((name for name in self._groups if found[name] is not None), 0)
            start, end = found.span(group)
            if self._before is not None:
                # Looked for from here, so that a long text is not begun anew at each of its characters.
                head = self._before.match(text[max(0, start - _LONGEST) : start][::-1])
                if head is None or not head.end():
                    continue
                start -= head.end()
            if start < end and self._valid(text[start:end]):
                yield start, end


class Finder:
    """Finds the secrets of all patterns in a text.

    `shortest`: a text of nothing but letters and digits that is shorter has none.
    """

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        every = list(patterns)
        self._hinted = [(hint, one) for one in every for hint in one.hints]
        self._always = [one for one in every if not one.hints]
        self.shortest = min((one.plain for one in every if one.plain), default=sys.maxsize)
        self._plain_hinted = [(hint, one) for hint, one in self._hinted if one.plain]

    def places(self, text: str) -> list[tuple[int, int]]:
        """Beginning and end of each secret, in order, apart from each other."""
        hinted = self._plain_hinted if text.isalnum() else self._hinted
        lower = text.lower()
        patterns = [one for hint, one in hinted if hint in lower] + self._always
        found: list[tuple[int, int]] = []
        for start, end in sorted(place for pattern in patterns for place in pattern.places(text)):
            if found and start <= found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((start, end))
        return found


_CARD = re.compile(
    r"(?:4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d|4[4-9]\d)\d{12}"
    r"|3(?:5\d{14}|(?:0[0-5]|[68]\d)\d{11}))"
)


def card(text: str) -> bool:
    """True for a card's number: length and beginning of an issuer's, and the check digit (ISO/IEC 7812-1).

    Visa, Mastercard, American Express, Discover, JCB, Diners Club.
    """
    plain = "".join(one for one in text if one.isdigit())
    if not _CARD.fullmatch(plain):
        return False
    digits = [int(one) for one in plain]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


PATTERNS = (
    # A private key in PEM; without its end, what follows.
    Pattern(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----END)){0,20000}(?:-----END [A-Z0-9 ]{0,40}-----)?",
        "private key-----",
    ),
    # Credentials in a URL.
    Pattern(r"""://(?P<secret>[^/\s:@"'<>]{0,256}:[^/\s@"'<>]{1,256})@""", "://"),
    # Headers in a text: their value goes to the end of the quotes or of the line.
    Pattern(r"(?i:authorization|cookie)" + _REST % r"""[^\s"'][^"'\r\n]*""", "authorization", "cookie"),
    # What follows the name of an authentication scheme (RFC 9110, 11.1).
    Pattern(r"\b(?i:bearer)[ \t:=]{1,8}(?P<secret>[\w.~+/=:-]{4,})", "bearer"),
    Pattern(r"\b(?i:basic)[ \t]{1,8}(?P<secret>(?=[a-z]*[^a-z\s])[\w+/=-]{6,})", "basic"),
    # name=value.
    Pattern(f"(?i:{_NAMES})" + _REST % r"""[^\s"',;&}\])<]+""", *_NAME_HINTS),
    # Arguments of commands.
    Pattern(rf"(?<![\w-])--[\w-]{{0,40}}(?i:{_NAMES})[ \t]{{1,8}}(?P<secret>[^\s\"']+)", "--"),
    # JSON Web Tokens (RFC 7519).
    Pattern(r"(?<![\w-])eyJ[\w-]{6,}\.[\w-]{4,}(?:\.[\w-]*)?", "eyj"),
    # Keys that tell whose they are.
    Pattern(r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35})", "akia", "asia", "aiza", plain=20),
    Pattern(
        r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[abeoprs]-[\w-]{10,}"
        r"|[rs]k_(?:live|test)_\w{10,}|glpat-[\w-]{16,}|sk-[\w-]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{20,}"
        r"|ya29\.[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,})",
        "gh", "xox", "k_", "glpat-", "sk-", "npm_", "pypi-", "ya29.", "sg.",
    ),
    # Addresses of e-mail.
    Pattern(r"(?:@|%40)(?:[\w-]{1,63}\.){1,8}\w{2,63}", "@", "%40", before=_LOCAL),
    # Digits, perhaps in groups, that are no part of a longer number and no fraction.
    Pattern(r"[2-6](?<!\d[2-6])(?<!\d\.[2-6])(?:[ \u00a0-]?\d){12,18}(?!\d)", plain=13, valid=card),
)  # fmt: skip
