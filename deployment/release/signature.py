"""A signature of a bundle: Ed25519 (RFC 8032) over the bytes of manifest.json, which holds the hash of every file.

The keys are PEM files as OpenSSL writes them, and OpenSSL checks what is signed here:
``openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in manifest.json -sigfile manifest.json.sig``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphs.errors import BadInput, EnginewrightError
from graphs.optional_packages import optional

SIGNATURE = "manifest.json.sig"
MAKE_KEYS = "openssl genpkey -algorithm ed25519 -out key.pem && openssl pkey -in key.pem -pubout -out public.pem"


def sign(manifest: Path, key: Path) -> bytes:
    """The signature, 64 bytes, of the file ``manifest`` with the private ``key``. Raises ``BadInput``."""
    private = _key(key, "private")
    signed: bytes = private.sign(manifest.read_bytes())
    return signed


def check_signature(manifest: Path, signature: Path, public_key: Path) -> None:
    """Raises ``EnginewrightError`` where the signature is not of these bytes and this key, ``BadInput`` for files that
    are no key or no signature.
    """
    public = _key(public_key, "public")
    if not signature.is_file():
        raise BadInput(
            "no signature", where=str(signature), fix="sign it: optimize deploy BUNDLE archive --sign key.pem"
        )
    try:
        public.verify(signature.read_bytes(), manifest.read_bytes())
    except _cryptography("exceptions").InvalidSignature:
        raise EnginewrightError(
            f"the signature is not of this manifest.json and {public_key.name}", where=str(signature)
        ) from None


def _key(path: Path, kind: str) -> Any:
    serialization = _cryptography("hazmat.primitives.serialization")
    classes = _cryptography("hazmat.primitives.asymmetric.ed25519")
    read = serialization.load_pem_private_key if kind == "private" else serialization.load_pem_public_key
    try:
        content = path.read_bytes()
        found = read(content, password=None) if kind == "private" else read(content)
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=str(path), fix=MAKE_KEYS) from None
    except (ValueError, TypeError) as error:  # not PEM, another kind of key, or one with a password
        raise BadInput(
            f"no {kind} key: {error}", where=str(path), expected="PEM without password", fix=MAKE_KEYS
        ) from None
    if not isinstance(found, getattr(classes, f"Ed25519{kind.title()}Key")):
        raise BadInput(f"{type(found).__name__} is no Ed25519 key", where=str(path), fix=MAKE_KEYS)
    return found


def _cryptography(module: str) -> Any:
    return optional(f"cryptography.{module}", "sign", "a signature")
