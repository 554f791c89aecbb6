"""Certificates for tests, made by openssl: an authority, a server, clients by name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Signs what tests need, in a directory of its own."""

    def __init__(self, home: Path, name: str = "ca") -> None:
        assert shutil.which("openssl")
        self.home = home
        self.name = name
        subject = ("-subj", f"/CN=test authority {name}")
        self._run("req", "-x509", *KEY, *subject, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2")

    @property
    def path(self) -> Path:
        """Its own certificate."""
        return self.home / f"{self.name}.pem"

    def sign(self, name: str, alternative: str, *, days: int = 2) -> tuple[Path, Path]:
        """Certificate and key of `name`; `alternative` as openssl wants it, `DNS:localhost`. 0 days: it has ended."""
        self._run("req", *KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (self.home / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        self._run(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key",
            "-CAcreateserial", "-days", str(days) if days else "-1", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
        return self.home / f"{name}.pem", self.home / f"{name}.key"

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.home, check=True, capture_output=True, timeout=60)
