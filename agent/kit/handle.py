"""A descriptor that is closed exactly once: at the end of a `with`, or by hand."""

from __future__ import annotations

import os
from typing import Self


class Handle:
    """What stands behind it is named by who derives from it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
