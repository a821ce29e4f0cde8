import { decodeJwt } from "jose";

const EARLY = 30; // seconds before a token's end at which another is asked for

/** Nobody is signed in: lead them to the sign-in page. */
export class SignedOut extends Error {}

/** Answers a token, or null where nobody is signed in. */
export type Ask = () => Promise<string | null>;

type Kept = { token: string; user: string; until: number };

/** One user's way to the API: keeps the token, and asks for another shortly before its end or on a 401. */
export function tasksApi(ask: Ask) {
  let kept: Kept | null = null;

  function forget(): void {
    kept = null;
  }

  async function askAgain(): Promise<Kept> {
    forget();
    const token = await ask();
    if (!token) throw new SignedOut("Nobody is signed in");
    const { sub = "", exp = 0 } = decodeJwt(token);
    kept = { token, user: encodeURIComponent(sub), until: exp - EARLY };
    return kept;
  }

  function send({ token, user }: Kept, path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${token}`);
    if (init.body) headers.set("Content-Type", "application/json");
    const url = `${process.env.NEXT_PUBLIC_API_URL}/api/${user}/tasks${path}`;
    return fetch(url, { cache: "no-store", ...init, headers });
  }

  /** Like fetch, from /api/{user_id}/tasks on: tasks(), tasks("?status=pending"), tasks("/7", { method: "DELETE" }). */
  async function tasks(path = "", init: RequestInit = {}): Promise<Response> {
    const usable = kept && Date.now() / 1000 < kept.until ? kept : await askAgain();
    const answer = await send(usable, path, init);
    return answer.status === 401 ? send(await askAgain(), path, init) : answer;
  }

  return { tasks, forget };
}
