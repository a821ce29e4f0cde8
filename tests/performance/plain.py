"""FastAPI with psycopg_pool and explicit transactions, on the schema of this project."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

Connection = AsyncConnection[DictRow]
SECRET, SIZE = os.environ["JWT_SECRET"], int(os.environ["POOL_SIZE"])
OPTIONS = {"row_factory": dict_row}
pool = AsyncConnectionPool[Connection](
    os.environ["DATABASE_URL"], kwargs=OPTIONS, min_size=SIZE, max_size=SIZE, open=False
)


class Task(BaseModel):
    """The members that a client sends."""

    title: str | None = None
    description: str | None = None


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with pool:
        yield


app = FastAPI(lifespan=lifespan)
Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


async def authorize(user_id: str, bearer: Bearer) -> str:
    try:
        claims = jwt.decode(bearer.credentials, SECRET, ["HS256"])
    except jwt.PyJWTError:
        raise HTTPException(401, "Invalid token") from None
    if claims["sub"] != user_id:
        raise HTTPException(403, "Not authorized to access this user's tasks")
    return user_id


async def connect(user: Annotated[str, Depends(authorize)]) -> AsyncIterator[Connection]:
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("select set_config('app.user_id', %s, true)", (user,))
        yield connection


Acting = Annotated[Connection, Depends(connect)]


async def one(connection: Connection, statement: str, *values: object) -> dict[str, Any]:
    task = await (await connection.execute(statement, values)).fetchone()
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


@app.get("/api/{user_id}/tasks")
async def list_tasks(connection: Acting, limit: Annotated[int, Query(ge=1, le=1000)] = 1000) -> list[Any]:
    newest = "select * from app.tasks order by id desc limit %s"
    return await (await connection.execute(newest, (limit,))).fetchall()


@app.post("/api/{user_id}/tasks", status_code=201)
async def create_task(connection: Acting, task: Task) -> dict[str, Any]:
    create = "insert into app.tasks (title, description) values (%s, %s) returning *"
    return await one(connection, create, task.title, task.description)


@app.get("/api/{user_id}/tasks/{task_id}")
async def get_task(connection: Acting, task_id: int) -> dict[str, Any]:
    return await one(connection, "select * from app.tasks where id = %s", task_id)


@app.put("/api/{user_id}/tasks/{task_id}")
async def update_task(connection: Acting, task_id: int, task: Task) -> dict[str, Any]:
    change = """
update app.tasks
set title = coalesce(%s, title), description = coalesce(%s, description)
where id = %s
returning *
"""
    return await one(connection, change, task.title, task.description, task_id)
