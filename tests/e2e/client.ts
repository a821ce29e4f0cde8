// What openapi-typescript and openapi-fetch make of the document, used against the running API.
import { strict as assert } from "node:assert";
import createClient from "openapi-fetch";
import type { paths } from "schema";

const { API = "", USER = "", TOKEN = "" } = process.env;
const api = createClient<paths>({ baseUrl: API, headers: { Authorization: `Bearer ${TOKEN}` } });
const mine = { user_id: USER };

async function create(title: string, key?: string) {
  const { data, response } = await api.POST("/api/{user_id}/tasks", {
    params: { path: mine, header: key === undefined ? {} : { "Idempotency-Key": key } },
    body: { title },
  });
  assert(data);
  return { task: data, response };
}

async function titles(): Promise<string[]> {
  const found: string[] = [];
  let cursor: string | undefined;
  do {
    const { data, response } = await api.GET("/api/{user_id}/tasks", {
      params: { path: mine, query: { limit: 2, sort: "title", cursor } },
    });
    assert(data);
    found.push(...data.map((task) => task.title));
    const next = /<([^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
    cursor = next && (new URL(next, API).searchParams.get("cursor") ?? undefined);
  } while (cursor);
  return found;
}

const first = await create("Buy milk", "once");
const again = await create("Buy milk", "once");
assert.equal(again.response.headers.get("Idempotency-Replayed"), "true");
assert.deepEqual(again.task, first.task);
for (const title of ["Call Zoë", "Mow", "Sleep", "Write"]) await create(title);
assert.deepEqual(await titles(), ["Buy milk", "Call Zoë", "Mow", "Sleep", "Write"]);

const one = { ...mine, task_id: first.task.id };
const version = { "If-Match": first.response.headers.get("ETag") ?? "" };
const changed = await api.PATCH("/api/{user_id}/tasks/{task_id}", {
  params: { path: one, header: version },
  body: { description: "The blue one" },
});
assert.equal(changed.data?.description, "The blue one");

const stale = await api.PUT("/api/{user_id}/tasks/{task_id}", {
  params: { path: one, header: version },
  body: { title: "Buy bread" },
});
assert.equal(stale.response.status, 412);
assert.match(stale.error?.detail ?? "", /version/);

const done = await api.PATCH("/api/{user_id}/tasks/{task_id}/complete", {
  params: { path: one },
  body: { completed: true },
});
assert.equal(done.data?.completed, true);

const blank = await api.POST("/api/{user_id}/tasks", { params: { path: mine }, body: { title: " " } });
assert.equal(blank.response.status, 422);
assert.equal(blank.error?.errors?.[0]?.field, "title");

const deleted = await api.DELETE("/api/{user_id}/tasks/{task_id}", { params: { path: one } });
assert.equal(deleted.response.status, 204);
const gone = await api.GET("/api/{user_id}/tasks/{task_id}", { params: { path: one } });
assert.equal(gone.error?.status, 404);
