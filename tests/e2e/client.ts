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

const members = { priority: "high", due_date: "2026-12-24T18:30", category: "Work", tags: ["home", "money"] } as const;
const rent = await api.POST("/api/{user_id}/tasks", {
  params: { path: mine },
  body: { title: "Pay rent", ...members, tags: [...members.tags] },
});
assert.deepEqual(
  [rent.data?.priority, rent.data?.due_date, rent.data?.category, rent.data?.tags, rent.data?.status],
  ["high", "2026-12-24T18:30:00", "work", ["home", "money"], "pending"],
);
const narrowed = await api.GET("/api/{user_id}/tasks", {
  params: {
    path: mine,
    query: { priority: "high", category: "work", tags: "money,home", due_before: "2026-12-25", sort: "due_date" },
  },
});
assert.deepEqual(narrowed.data, [rent.data]);
const cleared = await api.PUT("/api/{user_id}/tasks/{task_id}", {
  params: { path: { ...mine, task_id: rent.data?.id ?? 0 } },
  body: { due_date: null, category: null, tags: null },
});
assert.deepEqual([cleared.data?.due_date, cleared.data?.category, cleared.data?.tags], [null, null, []]);
const stats = await api.GET("/api/{user_id}/stats", { params: { path: mine } });
assert.deepEqual(stats.data, { total: 6, pending: 6, completed: 0 });

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
