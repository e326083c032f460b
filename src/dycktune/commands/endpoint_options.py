"""The options that ask a server in place of a model of this machine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from dycktune.errors import ConfigError

if TYPE_CHECKING:
    from dycktune.inference.endpoint import Endpoint


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """A server with the OpenAI API. An API key comes from the environment variable DYCKTUNE_API_KEY."""

    endpoint: str | None = None
    """Ask the model of this server, such as http://127.0.0.1:8000/v1, at temperature 0; MODEL then only names the
    task."""
    endpoint_model: str | None = None
    """The model's name at the server; the only one it lists if left out."""
    concurrency: Annotated[int, Parameter(validator=Number(gte=1))] = 8
    """Requests to the server at the same time."""
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 600.0
    """Seconds to wait for each of the server's replies."""
    max_tokens: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    """Maximum tokens of a reply of the server; more than the right reply can take if left out."""

    def find(self) -> "Endpoint | None":
        """The model of the server; None where no server is named.

        Raises:
            ConfigError: an option cannot be used.
            EndpointError: the server cannot be used.
        """
        if self.endpoint is None:
            if self.endpoint_model is not None:
                raise ConfigError(
                    "--endpoint-model names a model of a server; name the server with --endpoint"
                )
            return None
        from dycktune.inference.api_key import api_key
        from dycktune.inference.endpoint import find_endpoint

        return find_endpoint(
            self.endpoint,
            self.endpoint_model,
            key=api_key(),
            concurrency=self.concurrency,
            timeout=self.timeout,
        )


NO_ENDPOINT = EndpointOptions()
