"""The web chat's process: it listens, says at which address, and serves the page until Ctrl+C."""

import uvicorn

from thinkling.errors import UserError
from thinkling.serve.security import Access
from thinkling.serve.server import address, listening, with_token
from thinkling.serve.web.door import Door
from thinkling.serve.web.page import House, application


def serve(house: House, access: Access, port: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises UserError where the page cannot be served."""
    if house.sampling.max_tokens >= house.context:
        raise UserError(f"--max-tokens {house.sampling.max_tokens} leaves no room for a question in a context of "
                        f"{house.context}: lower it, or raise --max-length")  # fmt: skip
    access = with_token(access)
    app = Door(application(house), access)
    listener = listening(access.bind, port)
    secret = f"/?token={access.token}" if access.token else ""
    print(f"open {address(listener)}{secret} (Ctrl+C ends)", flush=True)
    config = uvicorn.Config(
        app, ws="none", loop="asyncio", lifespan="on", log_config=None, log_level="error", access_log=False,
        server_header=False, proxy_headers=False, timeout_keep_alive=30, timeout_graceful_shutdown=1,
    )  # fmt: skip
    uvicorn.Server(config).run([listener])
