// The adapters against the running API: what a page of each kind sends, and what it reads.
import { strict as assert } from "node:assert";
import { enveloped } from "./adapters/envelope";
import { inCamelCase } from "./adapters/camel-case";
import { forward } from "./adapters/cookie";
import { tasksApi } from "@/lib/tasks-api";

const { USER = "", TOKEN = "" } = process.env;
const { tasks } = tasksApi(async () => TOKEN);
const post = (body: unknown) => ({ method: "POST", body: JSON.stringify(body) });

const wrapped = enveloped(tasks);
const { task } = await (await wrapped("", post({ title: "Buy milk", tags: ["home"] }))).json();
assert.deepEqual(task.tags, ["home"]);
for (const query of ["", "?status=pending", "?limit=1"]) {
  const answer = await wrapped(query);
  assert.deepEqual(await answer.json(), { tasks: [task], data: [task], total: 1 });
  assert.equal(answer.headers.get("X-Total-Count"), "1");
}
assert.deepEqual((await (await wrapped(`/${task.id}`)).json()).data, task);
assert.deepEqual(await (await wrapped(`/${task.id}`, { method: "DELETE" })).json(), { success: true });
const gone = await wrapped(`/${task.id}`);
assert.deepEqual([gone.status, (await gone.json()).detail], [404, "Task not found"]);

const camel = inCamelCase(tasks);
const made = await (await camel("", post({ title: "Pay rent", dueDate: "2026-12-24T18:30" }))).json();
assert.deepEqual([made.dueDate, made.userId, "due_date" in made], ["2026-12-24T18:30:00", USER, false]);
assert.deepEqual(await (await camel()).json(), [made]);
const put = { method: "PUT", body: JSON.stringify({ ...made, completed: true, dueDate: null }) };
const changed = await (await camel(`/${made.id}`, put)).json();
assert.deepEqual([changed.completed, changed.dueDate, changed.createdAt], [true, null, made.createdAt]);
assert.equal((await camel("", post({ title: "" }))).status, 422);
assert.equal((await camel(`/${made.id}`, { method: "DELETE" })).status, 204);

const own = `http://localhost:3000/api/${encodeURIComponent(USER)}/tasks`;
const Cookie = `theme=dark; auth_token=${encodeURIComponent(TOKEN)}`;
const ask = (path: string, init: RequestInit = {}) => forward(new Request(`${own}${path}`, init));
const kept = await ask("", { ...post({ title: "Call Zoë" }), headers: { Cookie } });
assert.equal(kept.status, 201);
const call = await kept.json();
assert.deepEqual(await (await ask("?search=zo%C3%AB", { headers: { Cookie } })).json(), [call]);
const stale = { method: "DELETE", headers: { Cookie, "If-Match": '"7"' } };
assert.equal((await ask(`/${call.id}`, stale)).status, 412);
assert.equal((await ask("")).status, 401);
assert.equal((await ask("", { headers: { Cookie, "Sec-Fetch-Site": "cross-site" } })).status, 403);
assert.equal((await ask(`/${call.id}`, { method: "DELETE", headers: { Cookie } })).status, 204);
