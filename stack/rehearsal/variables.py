"""What a person would write into .env, drawn for one rehearsal."""

import base64
import datetime
import ipaddress
import os
import secrets
import string
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stack.installation import REPOSITORY

HOSTS = {"API_HOST": "shop.test", "AIRFLOW_HOST": "airflow.test", "MLFLOW_HOST": "mlflow.test"}
SECRETS = ("POSTGRES_PASSWORD", "BROKER_PASSWORD", "SESSIONS_PASSWORD", "AIRFLOW_ADMIN_PASSWORD",
           "MLFLOW_ADMIN_PASSWORD", "MLFLOW_TASKS_PASSWORD", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY",
           "MLFLOW_SECRET_KEY", "STORE_ADMIN_SECRET", "STORE_TASKS_SECRET", "STORE_API_SECRET", "STORE_MLFLOW_SECRET")


def secrets_of(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the variables that nobody may see."""
    return {name: variables[name] for name in (*SECRETS, "AIRFLOW_FERNET_KEY")}


def drawn(folder: Path, shop: Path) -> dict[str, str]:
    """Values for all variables of the file: secrets drawn anew, and a certificate that nobody else trusts.

    Args:
        folder: the certificate, its key and the file of the API's clients go here.
        shop: folder with the shop's tables; its name is the shop's.
    """
    certificate, key = write_certificate(folder)
    return {
        **{name: _drawn_secret() for name in SECRETS}, **HOSTS,
        "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "TLS_CERTIFICATE": str(certificate), "TLS_KEY": str(key),
        "SHOP_DATA": str(shop), "SHOP_NAME": shop.name, "API_KEYS": str(folder / "api-keys.json"),
    }


def _drawn_secret() -> str:
    # Without digits: the composition's ports are exchanged wherever they stand, in a secret of digits too.
    return "".join(secrets.choice(string.ascii_letters) for _ in range(48))


def new_client(variables: dict[str, str]) -> str:
    """Key of a client of the API, made by the command that .env.example names."""
    command = [sys.executable, "-m", "pipelines.cli", "keys", variables["API_KEYS"], "--name", "shop",
               "--scopes", "serve,events"]
    made = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the three names, signed by itself for a day, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Vitrine's rehearsal")])
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in HOSTS.values()]
    names.append(x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")))
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls-certificate.pem", folder / "tls-key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    descriptor = os.open(paths[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption()))
    return paths
