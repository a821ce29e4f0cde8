// A page without a framework on the same lib/ as the Next.js app.
import { authClient } from "@/lib/auth-client";
import { SignedOut } from "@/lib/tasks-api";
import { forget, tasks } from "@/lib/tasks";

type Task = { id: number; title: string; completed: boolean };

const find = <E extends Element>(selector: string): E => document.querySelector<E>(selector)!;
const list = find<HTMLUListElement>("#tasks");
const fields = (form: HTMLFormElement) => Object.fromEntries(new FormData(form)) as Record<string, string>;

async function call(method: string, path = "", body?: unknown, headers: Record<string, string> = {}) {
  const answer = await tasks(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, headers: Object.fromEntries(answer.headers), body: text && JSON.parse(text) };
}

async function show(): Promise<void> {
  try {
    const { status, body }: { status: number; body: Task[] & { detail: string } } = await call("GET");
    if (status !== 200) return void (find("#problem").textContent = body.detail); // what is listed stays
    list.replaceChildren(...body.map(item));
    list.dataset.count = String(body.length);
  } catch (error) {
    if (!(error instanceof SignedOut)) throw error;
    list.replaceChildren();
    list.dataset.count = "signed out";
  }
}

function item({ id, title, completed }: Task): HTMLLIElement {
  const row = document.createElement("li");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: completed });
  const remove = Object.assign(document.createElement("button"), { textContent: "Delete" });
  row.append(box, title, remove);
  row.dataset.completed = String(completed);
  box.onchange = () => call("PATCH", `/${id}/complete`, { completed: box.checked }).then(show);
  remove.onclick = () => call("DELETE", `/${id}`).then(show);
  return row;
}

find<HTMLFormElement>("#sign-in").onsubmit = async (event) => {
  event.preventDefault();
  const { email = "", password = "" } = fields(event.target as HTMLFormElement);
  await authClient.signIn.email({ email, password });
  await show();
};

find<HTMLFormElement>("#create").onsubmit = async (event) => {
  event.preventDefault();
  const { status, body } = await call("POST", "", fields(event.target as HTMLFormElement));
  find("#problem").textContent = status === 201 ? "" : body.detail;
  await show();
};

find<HTMLButtonElement>("#sign-out").onclick = async () => {
  await authClient.signOut();
  forget();
  await show();
};

Object.assign(window, { call });
await show();
