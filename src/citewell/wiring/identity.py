"""Which provider signs people in."""

from citewell.errors import InputError
from citewell.ports import IdentityProvider
from citewell.records.people import read_group_roles
from citewell.settings import Settings


def open_identity(settings: Settings) -> IdentityProvider | None:
    """Return the provider that the settings name; None when they name none.

    Raises:  InputError – it needs an extra that is not installed, or what groups may do cannot be
             read.
    """
    oidc = settings.oidc
    if not (oidc.issuer and oidc.client_id and oidc.redirect_url):
        return None
    try:
        from citewell.adapters.oidc import (  # noqa: PLC0415 - an extra: most do without it
            OidcClient,
            OidcProvider,
        )
    except ImportError as error:
        raise InputError(
            "CITEWELL_OIDC__ISSUER is set, but sign-in at a provider is not installed. Install "
            "citewell[oidc], or remove the setting."
        ) from error
    read_group_roles(oidc.roles)
    secret = oidc.client_secret
    return OidcProvider(
        OidcClient(
            issuer=oidc.issuer,
            client_id=oidc.client_id,
            client_secret=None if secret is None else secret.get_secret_value(),
            redirect_url=oidc.redirect_url,
            scopes=oidc.scopes,
            groups_claim=oidc.groups_claim,
            timeout_seconds=oidc.timeout_seconds,
        )
    )
