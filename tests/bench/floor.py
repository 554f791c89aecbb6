"""The least that delivery could cost: `python -m tests.bench.floor FILE URL` prints the CPU seconds it took.

The start of the interpreter is not counted.

http.client with keep-alive, batches of 4 MiB, ISA-L level 2, one msgspec check of each line, nothing else: no joining,
no segments, no cursor. The check is the typed decode of all fields, the least with which a line can be vouched for.
"""

from __future__ import annotations

import http.client
import io
import sys
import time
from urllib.parse import urlsplit

from isal import isal_zlib

from agent.otlp import records

_BATCH = 4 << 20


def main(path: str, url: str) -> None:
    """Send the whole file."""
    began = time.process_time()
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    rest = b""
    with open(path, "rb") as file:
        while data := file.read(_BATCH):
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest, body = data[cut:], data[:cut]
            for line in io.BytesIO(body):
                records.decode(line)
            connection.request(
                "POST", "/v1/traces", isal_zlib.compress(body, 2, 31),
                {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            )  # fmt: skip
            connection.getresponse().read()
    sys.stdout.write(f"{time.process_time() - began}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
