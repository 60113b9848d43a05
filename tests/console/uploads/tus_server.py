"""Uploads over HTTPS alone, as a process of their own: `python tus_server.py ROOT PORT`."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from console.tus import Files, tus_router
from landingzone import log
from landingzone.command import Installation


def main() -> None:
    here = Installation(Path(sys.argv[1]))
    log.configure(here.settings.log, service="console")
    files = Files.of(here, ThreadPoolExecutor(8))

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        house = asyncio.create_task(files.receiving.keep_house())
        yield
        house.cancel()

    app = FastAPI(lifespan=life)
    app.include_router(tus_router(files))
    tls = {"ssl_certfile": os.environ.get("TLS_CERTIFICATE"), "ssl_keyfile": os.environ.get("TLS_KEY")}
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="info", **tls)


if __name__ == "__main__":
    main()
