"""The peer: list, get, create and update with FastAPI, SQLModel and asyncpg, in a common style."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import DateTime
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

SECRET = os.environ["JWT_SECRET"]
POOL_SIZE = int(os.environ["POOL_SIZE"])
engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=POOL_SIZE, max_overflow=0)
sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


now = partial(datetime.now, UTC)


class TaskChanges(SQLModel):
    title: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=1000)
    completed: bool | None = None


class TaskCreate(SQLModel):
    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=1000)
    completed: bool = False


class Task(TaskCreate, table=True):
    id: int | None = Field(default=None, primary_key=True)
    user_id: str = Field(index=True)
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


async def get_user(user_id: str, bearer: Bearer) -> str:
    try:
        claims = jwt.decode(bearer.credentials, SECRET, ["HS256"])
    except jwt.PyJWTError:
        raise HTTPException(401, "Invalid token") from None
    if claims["sub"] != user_id:
        raise HTTPException(403, "Not authorized to access this user's tasks")
    return user_id


Session = Annotated[AsyncSession, Depends(get_session)]
User = Annotated[str, Depends(get_user)]
app = FastAPI()


@app.get("/api/{user_id}/tasks", response_model=list[Task])
async def list_tasks(session: Session, user: User, limit: Annotated[int, Query(ge=1, le=1000)] = 100):
    newest = select(Task).where(Task.user_id == user).order_by(col(Task.id).desc()).limit(limit)
    return (await session.exec(newest)).all()


@app.post("/api/{user_id}/tasks", response_model=Task, status_code=201)
async def create_task(body: TaskCreate, session: Session, user: User):
    task = Task.model_validate(body, update={"user_id": user})
    session.add(task)
    await session.commit()
    return task


@app.get("/api/{user_id}/tasks/{task_id}", response_model=Task)
async def get_task(task_id: int, session: Session, user: User):
    task = (await session.exec(select(Task).where(Task.id == task_id, Task.user_id == user))).one_or_none()
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


@app.put("/api/{user_id}/tasks/{task_id}", response_model=Task)
async def update_task(task_id: int, body: TaskChanges, session: Session, user: User):
    task = await get_task(task_id, session, user)
    task.sqlmodel_update(body.model_dump(exclude_unset=True))
    task.version, task.updated_at = task.version + 1, now()
    await session.commit()
    return task
