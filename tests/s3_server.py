"""`S3Server`: moto's server of S3 on loopback, which fsspec finds by the environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import TracebackType
from typing import Self

from s3fs import S3FileSystem

BUCKET = "bucket"


class S3Server:
    """A server with one empty bucket, until the context ends. Inside it, `s3://bucket/…` is there for this process and
    for those that it starts."""

    def __enter__(self) -> Self:
        self._before = dict(os.environ)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            raise AssertionError("moto does not start")
        os.environ |= {
            "AWS_ENDPOINT_URL": found[1], "AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        S3FileSystem().mkdir(BUCKET)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        S3FileSystem.clear_instance_cache()
        os.environ.clear()
        os.environ |= self._before
        self._process.kill()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process.wait()
