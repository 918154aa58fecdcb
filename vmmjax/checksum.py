"""Checksums of files."""

import hashlib
from pathlib import Path


def sha256(file: Path) -> str:
    """The SHA-256 of a whole file, in hexadecimal digits."""
    with open(file, 'rb') as opened:
        return hashlib.file_digest(opened, 'sha256').hexdigest()
