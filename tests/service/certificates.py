"""Certificates made as they are needed: authorities, and what they sign."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
PEM, NO_ENCRYPTION = serialization.Encoding.PEM, serialization.NoEncryption()


@dataclass(frozen=True)
class Signed:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def chain(self) -> bytes:
        """The certificate, PEM."""
        return self.certificate.public_bytes(PEM)

    @property
    def secret(self) -> bytes:
        """The key, PEM."""
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NO_ENCRYPTION)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """``name.pem`` and ``name.key``."""
        chain, secret = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(self.chain)
        secret.write_bytes(self.secret)
        return chain, secret


def authority(name: str = "authority") -> Signed:
    """One that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    built = _builder(name, key, DAY).issuer_name(_named(name)).add_extension(x509.BasicConstraints(True, 0), critical=True)
    return Signed(key, built.sign(key, hashes.SHA256()))


def signed(by: Signed, name: str, *, uri: str = "", lifetime: timedelta = DAY) -> Signed:
    """For a server on this machine or a client; a negative lifetime is over."""
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    names += [x509.UniformResourceIdentifier(uri)] if uri else []
    built = _builder(name, key, lifetime).issuer_name(by.certificate.subject)
    built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    built = built.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Signed(key, built.sign(by.key, hashes.SHA256()))


def _builder(name: str, key: ec.EllipticCurvePrivateKey, lifetime: timedelta) -> x509.CertificateBuilder:
    end = datetime.now(UTC) + lifetime
    built = x509.CertificateBuilder().subject_name(_named(name)).public_key(key.public_key())
    return built.serial_number(x509.random_serial_number()).not_valid_before(end - 2 * DAY).not_valid_after(end)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
