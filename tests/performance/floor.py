"""The floor: FastAPI routes without any work, whose responses have as many bytes as those of the API."""

from fastapi import FastAPI, Response

app = FastAPI()
TASK = (
    b'{"id":7,"user_id":"1234","title":"Task 7 of 1234","description":null,"completed":false,'
    b'"status":"pending","priority":"medium","due_date":null,"category":null,"tags":[],"version":1,'
    b'"created_at":"2026-11-20T09:30:00.123456+00:00","updated_at":"2026-11-20T09:30:00.123456+00:00"}'
)
TASKS = b"[" + b",".join([TASK] * 50) + b"]"


@app.get("/api/{user_id}/tasks")
async def list_tasks() -> Response:
    return Response(TASKS, media_type="application/json")


@app.get("/api/{user_id}/tasks/{task_id}")
@app.put("/api/{user_id}/tasks/{task_id}")
@app.patch("/api/{user_id}/tasks/{task_id}/complete")
async def task() -> Response:
    return Response(TASK, media_type="application/json")


@app.post("/api/{user_id}/tasks")
async def create_task() -> Response:
    return Response(TASK, 201, media_type="application/json")


@app.delete("/api/{user_id}/tasks/{task_id}")
async def delete_task() -> Response:
    return Response(status_code=204)
