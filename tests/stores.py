"""A local S3 server, with one bucket."""

from collections.abc import Iterator
from contextlib import contextmanager

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
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def s3(monkeypatch, tmp_path_factory) -> Iterator[str]:
    """The URL of an empty bucket; this process and those it starts reach it by the environment."""
    with s3_server() as url:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path_factory.mktemp("assets")))
        filesystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}"


def filesystem():
    """s3fs, for what a test puts there or looks at."""
    s3fs = pytest.importorskip("s3fs")
    return s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
