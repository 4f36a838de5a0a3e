"""Filter `panda.provision.certificate_data`: what a person asks of a certificate."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.panda.provision.plugins.plugin_utils.preflight.certificates import subject_names
from cryptography import x509

DOCUMENTATION = r"""
name: certificate_data
short_description: What a person asks of a certificate
options:
  _input:
    description: Text of a file in PEM form; its first certificate counts.
    type: str
    required: true
"""

EXAMPLES = r"""
until: "{{ (pem | panda.provision.certificate_data).until }}"
"""

RETURN = r"""
_value:
  description: C(subject), C(issuer), C(names) that it is valid for, and the day that it is valid C(until).
  type: dict
"""


def certificate_data(pem: str) -> dict[str, str | list[str]]:
    """Subject, issuer, names and last day of a certificate."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise AnsibleFilterError(f"this is not a certificate in PEM form: {error}") from error
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "names": subject_names(certificate),
        "until": f"{certificate.not_valid_after_utc:%Y-%m-%d}",
    }


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name to function."""
        return {"certificate_data": certificate_data}
