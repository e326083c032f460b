"""A local S3 server, with one bucket."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDOFTHETEST",
    "AWS_SECRET_ACCESS_KEY": "never-to-be-printed",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BUCKET = "bucket"


@contextmanager
def s3_server() -> Iterator[str]:
    """moto's server in this process; gives its URL, for AWS_ENDPOINT_URL."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        # Its buckets belong to the process, and those of the test before are still there.
        httpx2.post(f"{url}/moto-api/reset")
        yield url
    finally:
        server.stop()


def filesystem():
    """s3fs, for what a test puts there or looks at."""
    s3fs = pytest.importorskip("s3fs")
    return s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)


@contextmanager
def refusing_keys() -> Iterator[None]:
    """Every key is a wrong one for the server."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    httpx2.post(address, content="0")
    try:
        yield
    finally:
        httpx2.post(address, content="inf")
