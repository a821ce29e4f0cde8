// How often lib/tasks-api.ts asks for a token, against the running API; TOKENS are a short-lived, a wrong
// and a good one.
import { strict as assert } from "node:assert";
import { SignedOut, tasksApi } from "@/lib/tasks-api";

const { SOON = "", WRONG = "", GOOD = "" } = process.env;

async function asked(tokens: (string | null)[], times: number): Promise<[number[], number]> {
  let count = 0;
  const { tasks } = tasksApi(async () => tokens[Math.min(count++, tokens.length - 1)] ?? null);
  const statuses: number[] = [];
  for (let time = 0; time < times; time++) statuses.push((await tasks()).status);
  return [statuses, count];
}

assert.deepEqual(await asked([GOOD], 3), [[200, 200, 200], 1], "a token is kept");
assert.deepEqual(await asked([SOON], 2), [[200, 200], 2], "shortly before its end, another is asked for");
assert.deepEqual(await asked([WRONG, GOOD], 2), [[200, 200], 2], "a refused one is asked for again");
assert.deepEqual(await asked([WRONG], 1), [[401], 2], "but only once");
await assert.rejects(asked([null], 1), SignedOut);
await assert.rejects(asked([WRONG, null], 1), SignedOut);
