"""Setting up the second factor: a seed for the authenticator app, a first code, recovery codes."""

import base64
from collections.abc import Mapping

import pyotp
import segno
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from authserver import pages
from authserver.browser.forms import form_page
from authserver.crypto.sealing import CannotUnseal, Seal
from authserver.provider import Provider
from authserver.requests.reading import BadRequest
from authserver.with_password.second_factor.factor import new_seed


def offer(
    server: Provider,
    request: Request,
    *,
    subject: str,
    user_name: str,
    shown_to: str = "",
    request_id: str = "",
    seed: str | None = None,
) -> Response:
    """Return the page that offers a new seed; or `seed` again, after a wrong code.

    `shown_to` is the subject of the session, where there is one yet.
    """
    offered = seed or new_seed()
    uri = pyotp.TOTP(offered).provisioning_uri(name=user_name, issuer_name=pages.server_name(request))
    code = segno.make(uri, micro=False).svg_inline(omitsize=True, svgclass="qr", lineclass=None)
    return form_page(
        server,
        request,
        "with_password/second_factor/pages/second_factor_enrolment",
        subject=shown_to,
        status=400 if seed else 200,
        action=request.scope["path"],
        request_id=request_id,
        at_sign_in=not shown_to,
        wrong=seed is not None,
        uri=uri,
        qr_code=Markup(code),  # noqa: S704  # made of squares
        seed=offered,
        sealed_seed=_seal(server.keys.seal, offered, subject),
    )


def offered_seed(server: Provider, form: Mapping[str, str], subject: str) -> str:
    """Return the seed that the page offered to this user; raises BadRequest."""
    try:
        sealed = base64.urlsafe_b64decode(form.get("seed", ""))
        return server.keys.seal.unseal(sealed, _purpose(subject)).decode()
    except (CannotUnseal, ValueError):
        raise BadRequest("the page is too old") from None


def show_codes(request: Request, codes: list[str], *, user_name: str, onward: str) -> Response:
    """Show recovery codes, this once. It answers a post itself: a redirect would have to keep them."""
    return pages.page(
        request,
        "with_password/second_factor/pages/recovery_codes",
        codes=codes,
        user_name=user_name,
        onward=onward,
    )


def _seal(seal: Seal, seed: str, subject: str) -> str:
    return base64.urlsafe_b64encode(seal.seal(seed.encode(), _purpose(subject))).decode()


def _purpose(subject: str) -> str:
    return f"seed offered to {subject}"
