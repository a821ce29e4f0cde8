"""Serves another application with the same options of uvicorn as the API."""

import os
import sys

import uvicorn

if __name__ == "__main__":
    uvicorn.run(
        sys.argv[1],
        port=int(os.environ["PORT"]),
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=75,
    )
