"""Who looks at a page: a session that a cookie names, and the customer that it shops as."""

import re
import secrets
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

SESSION_COOKIE, PERSONA_COOKIE = "vitrine_session", "vitrine_persona"
_MOST_AGE_S = 30 * 86_400
_SESSION = re.compile(r"visit-[A-Za-z0-9_-]{22}")
_PERSONA = re.compile(r"[a-z]")


@dataclass(frozen=True)
class Visitor:
    """Who asks for a page.

    Attributes:
        session: the user id that clicks are kept under; never that of a customer.
        persona: key of the customer that the visitor shops as; None is a newcomer.
    """

    session: str
    persona: str | None = None

    @classmethod
    def of(cls, request: Request) -> "Visitor":
        """Whom the cookies name; somebody new where they name nobody."""
        session, persona = (request.cookies.get(name, "") for name in (SESSION_COOKIE, PERSONA_COOKIE))
        return cls(session if _SESSION.fullmatch(session) else _new_session(),
                   persona if _PERSONA.fullmatch(persona) else None)

    @classmethod
    def anew(cls, persona: str | None) -> "Visitor":
        """A session without clicks."""
        return cls(_new_session(), persona)

    def remember(self, response: Response, is_secure: bool) -> None:
        """Name the session and the customer in cookies that scripts cannot read and other sites do not send."""
        for name, value in ((SESSION_COOKIE, self.session), (PERSONA_COOKIE, self.persona or "-")):
            response.set_cookie(name, value, max_age=_MOST_AGE_S, httponly=True, samesite="lax", secure=is_secure)


def _new_session() -> str:
    return f"visit-{secrets.token_urlsafe(16)}"
